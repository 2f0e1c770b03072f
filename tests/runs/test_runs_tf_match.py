"""Matching parameters with variables by shape; TensorFlow is not needed."""

import itertools
import random

import jax
import pytest

from reprise.errors import UsageError
from reprise.importers.tensorflow.match import ROWS, find_reading, fits
from reprise.importers.tensorflow.object_graph import Variable
from reprise.models.registry import ModelShape, get_model

DEFAULTS = {"maxlen": 20, "embedding_dim": 64, "hidden_size": 64, "num_interest": 4}
ITEMS = 500


def variable(name: str, *shape: int) -> Variable:
    return Variable(name, name, shape, frozenset({name}), None)


def nameless(model: str, sizes: dict[str, int], merged: bool) -> dict[str, Variable]:
    """The model's variables by parameter, under names that tell nothing."""
    shape = ModelShape(
        sizes["maxlen"], sizes["embedding_dim"], sizes["hidden_size"], sizes["num_interest"]
    )
    made = jax.eval_shape(lambda key: get_model(model).init(key, shape), jax.random.key(0))
    shapes = {name: tuple(array.shape) for name, array in made.items()}
    if merged and model == "ComiRec-DR":
        length, interests, dim, _ = shapes["bilinear"]
        shapes["bilinear"] = (1, length, interests * dim, dim)
    elif merged:
        shapes["position"] = (1, *shapes["position"])
    shapes |= {ROWS: (ITEMS + 1, sizes["embedding_dim"])}
    return {name: variable(f"x{n}", *shape) for n, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("model", ["ComiRec-DR", "ComiRec-SA"])
def test_match_infers_sizes_and_parameters_from_shapes(model: str, merged: bool) -> None:
    for length, dim, hidden, interests in itertools.product(
        (20, 50), (16, 64), (16, 64), (2, 4, 8)
    ):
        sizes = {"maxlen": length, "embedding_dim": dim, "num_interest": interests}
        sizes["hidden_size"] = dim if model == "ComiRec-DR" else hidden
        made = nameless(model, sizes, merged)
        others = [variable("bias", ITEMS + 1), variable("momentum_of_a_metric", 3)]
        shuffled = random.Random(1).sample([*made.values(), *others], len(made) + 2)
        reading = find_reading(get_model(model), tuple(shuffled), ITEMS, {}, {}, DEFAULTS)
        assert dict(reading.sizes) == sizes
        assert dict(reading.variables) == made


def test_match_of_flattened_shapes_needs_given_sizes() -> None:
    variables = (variable("emb", ITEMS + 1, 8), variable("w", 6 * 4 * 8, 8))
    model = get_model("ComiRec-DR")
    with pytest.raises(UsageError) as refusal:
        find_reading(model, variables, ITEMS, {}, {}, DEFAULTS)
    assert refusal.value.key == "tf_ambiguous"
    assert "--num-interest" in refusal.value.values["choices"]
    told = find_reading(model, variables, ITEMS, {"num_interest": 4}, {}, DEFAULTS)
    assert told.sizes["maxlen"] == 6


@pytest.mark.parametrize(
    ("variable", "parameter", "expected"),
    [
        ((1, 6, 16, 8), (6, 2, 8, 8), True),
        ((6, 2, 64), (6, 2, 8, 8), True),
        ((12, 64), (6, 2, 8, 8), True),
        ((8, 6, 16), (6, 2, 8, 8), False),
        ((6, 8), (8, 6), False),
        ((6, 8, 1), (6, 8), True),
    ],
)
def test_fits_allows_merged_axes_only(
    variable: tuple[int, ...], parameter: tuple[int, ...], expected: bool
) -> None:
    assert fits(variable, parameter) == expected
