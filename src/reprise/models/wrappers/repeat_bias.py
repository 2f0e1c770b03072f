"""A repeat bias for any model: one learned scalar, added to the scores of items in the user's
history.

It falls where users never repeat an item, so that lists leave seen items out, and rises where they
do. Source: RepeatNet (arXiv 1812.02646), which weighs repeats against new items by a network; this
is its simplest form.
"""

from functools import cache

from reprise.models.registry import Model
from reprise.models.scoring import REPEAT_BIAS
from reprise.models.wrappers.beside import with_parameter


@cache  # one value for one request, since compiled steps are found by their model
def with_repeat_bias(model: Model) -> Model:
    """Return the model with one more parameter, `REPEAT_BIAS` [], initially zero. The networks do
    not use it; scoring does.
    """
    return with_parameter(model, REPEAT_BIAS, ())
