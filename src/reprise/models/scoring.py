"""How users' interests meet the items: what is compared with what, and by which product."""

from dataclasses import dataclass

REPEAT_BIAS = "repeat"  # parameter: what is added to the score of an item of the user's own history


@dataclass(frozen=True)
class Scoring:
    """cosine: whether interests and items are compared at length 1, by direction alone.
    tied: whether an item is one vector, as history and as candidate; untied, its row holds two.
    normalize_history: whether the items of a history are scaled to one length, too.
    ensemble: members of `models.wrappers.ensemble`, whose slices of a vector count the same.
    repeat_bias: whether `REPEAT_BIAS` is added to the scores of items that a user has seen.
    """

    cosine: bool = False
    tied: bool = True
    normalize_history: bool = False
    ensemble: int = 1
    repeat_bias: bool = False

    def width(self, dim: int) -> int:
        """Return the numbers of an item row's value, of vectors of `dim`."""
        return dim if self.tied else 2 * dim


COMIREC = Scoring()
