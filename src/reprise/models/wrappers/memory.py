"""The numbers of a memory, for any model: how what is counted beside it is added to its scores.

They are not learned by gradient: the loss does not use them, so no step changes them. They are
fitted at each evaluation (`evaluation.memory_fit`), and are part of the state as all parameters.
"""

from functools import cache

from reprise.memory.memory import SIZE
from reprise.models.registry import Model
from reprise.models.scoring import MEMORY
from reprise.models.wrappers.beside import with_parameter


@cache  # one value for one request, since compiled steps are found by their model
def with_memory(model: Model) -> Model:
    """Return the model with one more parameter, `MEMORY` [SIZE], initially zero, which adds
    nothing.
    """
    return with_parameter(model, MEMORY, (SIZE,))
