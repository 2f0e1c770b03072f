"""How users' interests meet the items: what is compared with what, and by which product."""

from dataclasses import dataclass

WORTH = "repeat"  # parameter: what is added to the score of an item of the user's own history


@dataclass(frozen=True)
class Scoring:
    """cosine: whether interests and items are compared at length 1, by direction alone.
    tied: whether an item is one vector, as history and as candidate; untied, its row holds two.
    unit_history: whether the items of a history have one length, too.
    members: of `models.members`, each of whose stretches of a vector counts as much as any other.
    repeats: whether the parameter `WORTH` is added to the scores of items a user has seen.
    """

    cosine: bool = False
    tied: bool = True
    unit_history: bool = False
    members: int = 1
    repeats: bool = False

    def width(self, dim: int) -> int:
        """Return the numbers of an item row's value, of vectors of `dim`."""
        return dim if self.tied else 2 * dim


COMIREC = Scoring()
