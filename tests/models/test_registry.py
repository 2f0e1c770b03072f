"""The registry: names, suggestions, and loading on demand."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.effort import some_at_length
from reprise.errors import UsageError
from reprise.models.registry import (
    REGISTRY,
    Model,
    ModelShape,
    Params,
    canonical_name,
    get_model,
    prefix_mask,
)
from reprise.models.wrappers.dynamic import with_dynamic_interests
from reprise.models.wrappers.encoder import Encoder, with_encoder
from reprise.models.wrappers.ensemble import with_ensemble
from reprise.models.wrappers.repeat_bias import with_repeat_bias

SINGLE = {"DNN", "GRU4REC", "SASRec", "MostPop"}  # models of one interest, whatever is asked for
SHAPE = ModelShape(history_length=5, embedding_dim=4, hidden_size=4, num_interest=3)


def fresh(name: str) -> tuple[Model, Params]:
    model = get_model(name)
    return model, model.init(jax.random.key(1), SHAPE)


@pytest.mark.parametrize("name", REGISTRY)
def test_get_model_ignores_case(name: str) -> None:
    assert canonical_name(name) == name
    assert canonical_name(name.upper()) == name
    assert canonical_name(name.lower()) == name
    assert get_model(name.lower()) == get_model(name)


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("ComiRec-SR", "ComiRec-SA"),
        ("comirec_sa", "ComiRec-SA"),
        ("comirecdr", "ComiRec-DR"),
        ("ComiRec", "ComiRec-SA"),
        ("", None),
        ("qqq", None),
        ("none", None),  # what ComiRec calls no model: like none of the names
        ("gru", "GRU4REC"),
        ("MINT", "MIND"),
    ],
)
def test_get_model_suggests_a_name_for_an_unknown_one(typed: str, suggestion: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        get_model(typed)
    assert caught.value.key == "unknown_model"
    assert caught.value.values["name"] == typed
    said = "" if suggestion is None else f" Did you mean '{suggestion}'?"
    assert f"{typed!r}.{said} Known: " in str(caught.value)
    for known in REGISTRY:
        assert known in str(caught.value)


@pytest.mark.parametrize("name", REGISTRY)
def test_models_return_finite_interests_of_the_requested_shape(name: str) -> None:
    model, params = fresh(name)
    history = jax.random.normal(jax.random.key(2), (2, 5, 4))
    for key in (None, jax.random.key(3)):
        computed = model.interests(params, history, jnp.ones((2, 5)), key)
        assert computed.shape == (2, 1 if name in SINGLE else 3, 4)
        assert bool(jnp.isfinite(computed).all())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", REGISTRY)
def test_models_ignore_padding_bitwise(name: str, training: bool) -> None:
    model, params = fresh(name)
    key = jax.random.key(7) if training else None
    interests = jax.jit(model.interests)
    rng = np.random.default_rng(3)
    for scale in (1e-3, 1.0, 30.0):
        history = rng.normal(0, scale, (6, 5, 4)).astype(np.float32)
        mask = (np.arange(5) < rng.integers(1, 6, 6)[:, None]).astype(np.float32)
        other = np.where(mask[..., None] > 0, history, rng.normal(size=history.shape))
        first = np.asarray(interests(params, history, mask, key))
        second = np.asarray(interests(params, other.astype(np.float32), mask, key))
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("encoder", [Encoder(0), Encoder(2)], ids=["alone", "encoded"])
@pytest.mark.parametrize("name", REGISTRY)
def test_of_prefixes_equals_the_model_on_each_prefix(name: str, encoder: Encoder) -> None:
    model = with_encoder(get_model(name), encoder)
    params = dict(model.init(jax.random.key(1), SHAPE))
    rng = np.random.default_rng(3)
    for part, value in params.items():
        params[part] = value + rng.normal(0, 0.3, value.shape).astype(np.float32)
    history = jnp.asarray(rng.normal(size=(6, 5, 4)), jnp.float32)
    lengths = jnp.asarray(rng.integers(1, 6, (6, 3)), jnp.int32)
    made = np.asarray(jax.jit(model.of_prefixes)(params, history, lengths))
    interests = jax.jit(model.interests)
    for row in range(3):
        mask = prefix_mask(lengths[:, row], 5, np.float32)
        alone = interests(params, history * mask[..., None], mask)
        np.testing.assert_allclose(made[:, row], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REGISTRY)
def test_models_keep_users_independent(name: str) -> None:
    """At inference a user's interests are the same, to the bit, at any place of the batch."""
    model, params = fresh(name)
    interests = jax.jit(model.interests)
    rng = np.random.default_rng(4)
    history = rng.normal(size=(8, 5, 4)).astype(np.float32)
    mask = (np.arange(5) < rng.integers(1, 6, 8)[:, None]).astype(np.float32)
    order = rng.permutation(8)
    whole = np.asarray(interests(params, history, mask))
    moved = np.asarray(interests(params, history[order], mask[order]))
    assert moved.tobytes() == whole[order].tobytes()


@pytest.mark.parametrize("name", REGISTRY)
def test_models_refuse_a_hidden_size_that_makes_items_incomparable(name: str) -> None:
    shape = ModelShape(history_length=5, embedding_dim=16, hidden_size=8, num_interest=3)
    model = get_model(name)
    try:
        params = model.init(jax.random.key(4), shape)
    except UsageError as error:
        refused = (error.key, error.values)
    else:
        computed = model.interests(params, jnp.ones((2, 5, 16)), jnp.ones((2, 5)))
        assert computed.shape[::2] == (2, 16)
        return
    assert refused == ("hidden_size_must_match", {"hidden": 8, "embedding": 16})


@pytest.mark.parametrize("name", REGISTRY)
def test_models_init_is_a_function_of_the_key(name: str) -> None:
    init = get_model(name).init
    one, same, other = (init(jax.random.key(seed), SHAPE) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, same))
    if one and name != "SASRec":  # whose own parameters begin as ones and zeros
        assert not jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import reprise.models.registry", False),
        ("import reprise.cli.main", False),
        ("import reprise.models.registry as m; m.get_model('ComiRec-SA')", True),
    ],
)
def test_registry_imports_jax_only_with_a_model(code: str, loaded: bool) -> None:
    program = f"import sys; {code}; print(any(m.split('.')[0] == 'jax' for m in sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(loaded)


@pytest.mark.parametrize(
    "name", some_at_length(["ComiRec-DR", "ComiRec-SA", "Queries"], ["Queries"])
)
def test_by_length_gives_short_histories_fewer_interests(name: str) -> None:
    shape = dataclasses.replace(SHAPE, history_length=33, num_interest=4)
    plain, model = get_model(name), with_dynamic_interests(get_model(name))
    assert with_dynamic_interests(plain) is model
    params = plain.init(jax.random.key(1), shape)
    history = jnp.asarray(np.random.default_rng(3).normal(size=(8, 33, 4)), jnp.float32)
    lengths = jnp.asarray([1, 3, 4, 7, 8, 15, 16, 33])
    mask = prefix_mask(lengths, 33, np.float32)
    made = np.asarray(model.interests(params, history, mask))
    every = np.asarray(plain.interests(params, history, mask))
    for one, all_, count in zip(made, every, [1, 1, 2, 2, 3, 3, 4, 4], strict=True):
        np.testing.assert_array_equal(one, all_[np.arange(4) % count])
    of_prefixes = np.asarray(model.of_prefixes(params, history, lengths[:, None]))[:, 0]
    np.testing.assert_allclose(of_prefixes, made, rtol=1e-5, atol=1e-6)
    if model.interests_and_attention is not None:
        np.testing.assert_array_equal(model.interests_and_attention(params, history, mask)[0], made)


@dataclasses.dataclass(frozen=True)
class WiderModel(Model):
    """A model that has one thing more than models have today."""

    more: int = 0


@pytest.mark.parametrize(
    "wrap",
    [
        with_dynamic_interests,
        with_repeat_bias,
        lambda model: with_encoder(model, Encoder(1)),
        lambda model: with_ensemble(model, 2),
    ],
    ids=["dynamic", "repeats", "encoder", "members"],
)
@pytest.mark.parametrize("name", ["ComiRec-SA", "MostPop"])
def test_wrapped_model_keeps_attributes_that_its_wrapper_does_not_know(
    name: str, wrap: Callable[[Model], Model]
) -> None:
    model = get_model(name)
    wrapped = wrap(WiderModel(**vars(model), more=7))
    assert isinstance(wrapped, WiderModel)
    assert wrapped.more == 7
    assert wrapped.item_values == model.item_values
    assert (wrapped.interests_and_attention is None) == (model.interests_and_attention is None)
    assert wrapped.interests != model.interests
