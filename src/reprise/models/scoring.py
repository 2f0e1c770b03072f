"""How interests and items are compared: which vectors, and by which product."""

from dataclasses import dataclass

REPEAT_BIAS = "repeat"  # parameter: added to the scores of items in the user's history
MEMORY = "memory"  # parameter: the numbers of `memory.Memory`


@dataclass(frozen=True)
class Scoring:
    """How scores are computed.

    Attributes:
        cosine: Whether scores are cosines instead of inner products.
        tied: Whether an item has one vector for history and candidate; untied, its row holds two.
        normalize_history: Whether the item vectors of a history are normalised to norm sqrt(d).
        ensemble: Number of ensemble members (`models.wrappers.ensemble`), whose slices of a vector
            are normalised separately.
        repeat_bias: Whether `REPEAT_BIAS` is added to the scores of items the user has seen.
    """

    cosine: bool = False
    tied: bool = True
    normalize_history: bool = False
    ensemble: int = 1
    repeat_bias: bool = False

    def width(self, dim: int) -> int:
        """Return the width of an item row's value, for vectors of `dim`."""
        return dim if self.tied else 2 * dim


COMIREC = Scoring()
