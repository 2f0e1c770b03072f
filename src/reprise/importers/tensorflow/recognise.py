"""Detect the model of a checkpoint's variables."""

from reprise.errors import UsageError
from reprise.importers.tensorflow.match import Reading, Wanted, find_reading, likeness, listing
from reprise.importers.tensorflow.object_graph import Variable
from reprise.models.registry import REGISTRY, UNTRAINED

# Why a model does not match, from the worst match to those that an option of the user resolves.
_RANKS = (
    "tf_no_reading",
    "tf_unused_trained",
    "tf_unused_perhaps",
    "tf_sizes_differ",
    "tf_sizes_untold",
    "tf_ambiguous",
)
# Refusals that are the same for every model.
_FOR_ALL = ("tf_table_differs", "tf_unknown_variable")


def find_model(variables: tuple[Variable, ...], wanted: Wanted) -> Reading:
    """Return the reading of the only model that `variables` match.

    Raises:
        UsageError: None matches, several do, or the one that does needs an option.
    """
    found: list[Reading] = []
    refusals: list[UsageError] = []
    for name in REGISTRY:
        if name not in UNTRAINED:
            try:
                found.append(find_reading(name, variables, wanted))
            except UsageError as refusal:
                if refusal.key in _FOR_ALL:
                    raise
                refusals.append(refusal)
    if found:
        scored = sorted(((likeness(reading), n) for n, reading in enumerate(found)), reverse=True)
        if len(found) == 1 or scored[0][0] > scored[1][0]:
            return found[scored[0][1]]
        raise UsageError("tf_models", models=" | ".join(reading.model for reading in found))
    raise _nearest(refusals, variables)


def _nearest(refusals: list[UsageError], variables: tuple[Variable, ...]) -> UsageError:
    """Return the refusal to report: that of the model that fits best."""

    def rank(refusal: UsageError) -> tuple[int, int]:
        place = _RANKS.index(refusal.key) if refusal.key in _RANKS else -1
        return place, -int(str(refusal.values.get("count", 0)))

    best = max(refusals, key=rank)
    if best.key == "tf_no_reading" and [one.key for one in refusals].count(best.key) > 1:
        models = ", ".join(name for name in REGISTRY if name not in UNTRAINED)
        return UsageError("tf_no_model", models=models, variables=listing(variables))
    return best
