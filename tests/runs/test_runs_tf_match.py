"""Matching parameters with variables by shape; TensorFlow is not needed."""

import itertools
import random
from functools import partial

import jax
import pytest

from helpers.effort import some_at_length
from reprise.errors import UsageError
from reprise.importers.tensorflow.match import Wanted, find_reading, fits
from reprise.importers.tensorflow.names import ORIGINAL, ROWS, named_of
from reprise.importers.tensorflow.object_graph import Variable, is_adam
from reprise.importers.tensorflow.recognise import find_model
from reprise.models.registry import ModelShape, get_model

DEFAULTS = {"maxlen": 20, "embedding_dim": 64, "hidden_size": 64, "num_interest": 4}
ITEMS = 500


def variable(name: str, *shape: int, trained: bool = True) -> Variable:
    return Variable(name, name, shape, frozenset({name}), None, trained)


def wanted(
    given: dict[str, int] | None = None,
    chosen: dict[str, str] | None = None,
    ignored: frozenset[str] = frozenset(),
) -> Wanted:
    return Wanted(ITEMS, given or {}, chosen or {}, ignored, DEFAULTS)


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
@pytest.mark.parametrize("model", some_at_length(["ComiRec-DR", "ComiRec-SA"], ["ComiRec-SA"]))
def test_match_infers_sizes_and_parameters_from_shapes(model: str, merged: bool) -> None:
    for length, dim, hidden, interests in itertools.product(
        (20, 50), (16, 64), (16, 64), (2, 4, 8)
    ):
        sizes = {"maxlen": length, "embedding_dim": dim, "num_interest": interests}
        sizes["hidden_size"] = dim if model == "ComiRec-DR" else hidden
        made = nameless(model, sizes, merged)
        untrained = {"bias": (ITEMS + 1,), "momentum_of_a_metric": (3,)}
        others = [variable(n, *shape, trained=False) for n, shape in untrained.items()]
        shuffled = random.Random(1).sample([*made.values(), *others], len(made) + 2)
        reading = find_model(tuple(shuffled), wanted())
        assert reading.model == model
        assert dict(reading.sizes) == sizes
        assert dict(reading.variables) == made


def test_match_of_flattened_shapes_needs_given_sizes() -> None:
    variables = (variable("emb", ITEMS + 1, 8), variable("w", 6 * 4 * 8, 8))
    with pytest.raises(UsageError) as refusal:
        find_reading("ComiRec-DR", variables, wanted())
    assert refusal.value.key == "tf_ambiguous"
    assert "--num-interest" in refusal.value.values["choices"]
    told = find_reading("ComiRec-DR", variables, wanted({"num_interest": 4}))
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


def original(model: str, dim: int = 8, interests: int = 3, length: int = 5) -> list[Variable]:
    """The model's variables as the original calls them."""
    shape = ModelShape(length, dim, dim, interests)
    made = jax.eval_shape(lambda key: get_model(model).init(key, shape), jax.random.key(0))
    return [
        variable("mid_embedding_var", ITEMS + 1, dim),
        variable("bias_lookup_table", ITEMS + 1, trained=False),
        *(variable(name, *made[ours].shape) for ours, name in ORIGINAL[model].items()),
    ]


SIZES = {"maxlen": 5, "num_interest": 3}


def refused(key: str, variables: list[Variable], asked: Wanted, model: str | None = None) -> str:
    find = find_model if model is None else partial(find_reading, model)
    with pytest.raises(UsageError) as refusal:
        find(tuple(variables), asked)
    assert refusal.value.key == key, str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("length", [3, 5, 8])
@pytest.mark.parametrize("model", ORIGINAL)
def test_find_model_knows_each_of_the_originals(model: str, length: int) -> None:
    """With axes of equal lengths, too, where names decide."""
    made = original(model, interests=length, length=length)
    sizes = {"maxlen": length, "num_interest": length}
    reading = find_model(tuple(made), wanted(sizes if model == "MIND" else {"maxlen": length}))
    assert reading.model == model
    assert reading.sizes["maxlen"] == length
    if model not in ("DNN", "GRU4REC"):
        assert reading.sizes["num_interest"] == length
    named = {ours: variable.name for ours, variable in reading.variables.items()}
    assert named == {ROWS: "mid_embedding_var", **ORIGINAL[model]}


def test_find_model_asks_for_sizes_that_no_shape_tells() -> None:
    told = {"MIND": "--maxlen N --num-interest N", "DNN": "--maxlen N", "GRU4REC": "--maxlen N"}
    for model, options in told.items():
        for chosen in (None, model):
            said = refused("tf_sizes_untold", original(model), wanted(), chosen)
            assert said.startswith(f"The checkpoint is a {model}'s")
            assert said.endswith(options)
    said = refused("tf_sizes_untold", original("MIND"), wanted({"maxlen": 5}))
    assert said.endswith("training: --num-interest N")


@pytest.mark.parametrize("model", ORIGINAL)
@pytest.mark.parametrize("other", ORIGINAL)
def test_find_reading_takes_no_model_for_another(model: str, other: str) -> None:
    if model != other:
        with pytest.raises(UsageError) as refusal:
            find_reading(other, tuple(original(model)), wanted(SIZES))
        allowed = ("tf_named_otherwise", "tf_unused_trained", "tf_no_reading")
        assert refusal.value.key in allowed


def test_find_model_refuses_an_unused_trained_variable_by_name() -> None:
    made = original("ComiRec-DR")
    extra = [*made, variable("disc/w", 3)]
    said = refused("tf_unused_trained", extra, wanted())
    assert "unused: disc/w." in said
    assert "--ignore disc/w" in said
    left_out = find_model(tuple(extra), wanted(ignored=frozenset({"disc/w"})))
    assert left_out.model == "ComiRec-DR"
    assert find_model((*made, variable("metric", 3, trained=False)), wanted()) == find_model(
        tuple(made), wanted()
    )
    # Without an optimizer nothing tells what was trained: what is left over is asked about.
    unknown = [variable(one.name, *one.shape, trained=False) for one in extra]
    assert "disc/w" in refused("tf_unused_perhaps", unknown, wanted())
    assert find_model(tuple(unknown), wanted(ignored=frozenset({"disc/w"}))).model == "ComiRec-DR"


def test_find_model_does_not_take_mind_without_projection_for_dnn() -> None:
    """The original's for Taobao: its shapes are those of a DNN, its names are not."""
    made = [one for one in original("MIND") if "proj" not in one.name]
    said = refused("tf_no_reading", made, wanted(SIZES))
    assert "do not match MIND (no variable fits: projection, projection_bias)" in said
    assert "are of MIND" in refused("tf_named_otherwise", made, wanted(SIZES), "DNN")


def test_find_model_lists_variables_that_fit_no_model() -> None:
    made = [variable("mid_embedding_var", ITEMS + 1, 8), variable("strange", 7, 11, 13)]
    assert "strange [7, 11, 13]" in refused("tf_no_model", made, wanted(SIZES))
    refused("tf_untrained_model", made, wanted(SIZES), "MostPop")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x/Adam", True),
        ("adam/x_momentum", True),
        ("adam_1/x_momentum", True),
        ("Adam/m/dense/kernel", True),
        ("x/LazyAdam_1", True),
        ("train_adam/x", True),
        ("adam_w/x_momentum", False),
        ("x/AdamW", False),
        ("nadam/x_momentum", False),
        ("x/AdaMax", False),
        ("adamax/x_momentum", False),
        ("rm_sprop/x_momentum", False),
        ("x/Adagrad", False),
        ("", False),
    ],
)
def test_is_adam(name: str, expected: bool) -> None:
    assert is_adam(name) == expected


def test_named_of_ignores_scopes_and_common_names() -> None:
    told = {
        "tower/capsule_network/bilinear/weights": "ComiRec-DR",
        "self_atten/dense/kernel": "ComiRec-SA",
        "capsule_network/bilinear/dense/kernel": "MIND",
        "gru1/gru_cell/gates/bias": "GRU4REC",
        "dense/kernel": None,
        "model/w": None,
    }
    assert {name: named_of(frozenset({name})) for name in told} == told
