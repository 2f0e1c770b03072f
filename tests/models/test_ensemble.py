"""Ensembles: each member equals the model alone; scores are the mean of the members' cosines."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.commands import small_config
from helpers.effort import some_at_length
from reprise.models.items import unit
from reprise.models.registry import Model, ModelShape, Params, get_model, prefix_mask
from reprise.models.scoring import Scoring
from reprise.models.wrappers.encoder import Encoder, with_encoder
from reprise.models.wrappers.ensemble import joined, parted, with_ensemble
from reprise.retrieval.vectors import retriever_of
from reprise.training import losses
from reprise.training.batches import Batch
from reprise.training.step import _make_loss, initial_arrays

SHAPE = ModelShape(history_length=5, embedding_dim=12, hidden_size=12, num_interest=3)
OWN = ModelShape(history_length=5, embedding_dim=4, hidden_size=4, num_interest=3)
MEMBERS = 3
RNG = np.random.default_rng(0)
HISTORY = jnp.asarray(RNG.normal(size=(7, 5, 12)), jnp.float32)
LENGTHS = jnp.asarray(RNG.integers(1, 6, size=(7, 2)), jnp.int32)


def alone(params: Params, member: int) -> Params:
    return {name: value[member] for name, value in params.items()}


def moved(params: Params) -> Params:
    """Fresh parameters, none of them zero, so that each has a part in what is compared."""
    noise = np.random.default_rng(1)
    return {
        name: value + jnp.asarray(noise.normal(size=value.shape) / 5, jnp.float32)
        for name, value in params.items()
    }


def base(model: str) -> Model:
    return with_encoder(get_model(model), Encoder(layers=1, heads=2))


@pytest.mark.parametrize(
    "model", some_at_length(["ComiRec-SA", "Queries", "MIND", "GRU4REC"], ["Queries", "MIND"])
)
def test_ensemble_members_equal_the_model_alone(model: str) -> None:
    several, one = with_ensemble(base(model), MEMBERS), base(model)
    params = moved(several.init(jax.random.key(3), SHAPE))
    mask = prefix_mask(LENGTHS[:, 0], 5, jnp.float32)
    made = jax.jit(several.interests)(params, HISTORY, mask)
    of_prefixes = jax.jit(several.of_prefixes)(params, HISTORY, LENGTHS)
    own_interests, own_of_prefixes = jax.jit(one.interests), jax.jit(one.of_prefixes)
    for member, history in enumerate(parted(HISTORY, MEMBERS)):
        own = slice(4 * member, 4 * member + 4)
        expected = own_interests(alone(params, member), history, mask)
        np.testing.assert_allclose(made[..., own], expected, rtol=1e-5, atol=1e-6)
        expected = own_of_prefixes(alone(params, member), history, LENGTHS)
        np.testing.assert_allclose(of_prefixes[..., own], expected, rtol=1e-5, atol=1e-6)


def test_ensemble_members_have_their_own_parameters_and_dropout() -> None:
    dropping = with_encoder(get_model("Queries"), Encoder(layers=1, dropout=0.5))
    model = with_ensemble(dropping, 2)
    params = model.init(jax.random.key(3), SHAPE)
    assert not np.allclose(params["token"][0], params["token"][1])
    same = {name: jnp.stack([value[0]] * 2) for name, value in params.items()}
    history = joined(jnp.stack([parted(HISTORY, 2)[0]] * 2))
    made = parted(jax.jit(model.of_prefixes)(same, history, LENGTHS, jax.random.key(1)), 2)
    assert not np.allclose(made[0], made[1])


def test_ensemble_exposes_the_attention_of_every_member() -> None:
    model, one = with_ensemble(base("Queries"), MEMBERS), base("Queries")
    assert model.interests_and_attention is not None
    assert one.interests_and_attention is not None
    params = moved(model.init(jax.random.key(3), SHAPE))
    mask = prefix_mask(LENGTHS[:, 0], 5, jnp.float32)
    made, attention = jax.jit(model.interests_and_attention)(params, HISTORY, mask)
    attend = jax.jit(one.interests_and_attention)
    assert attention.shape == (7, 9, 5)
    for member, history in enumerate(parted(HISTORY, MEMBERS)):
        own, weights = attend(alone(params, member), history, mask)
        np.testing.assert_allclose(parted(made, MEMBERS)[member], own, rtol=1e-5, atol=1e-6)
        start = 3 * member
        np.testing.assert_allclose(attention[:, start : start + 3], weights, rtol=1e-5, atol=1e-6)


def a_batch() -> Batch:
    rng = np.random.default_rng(2)
    negatives = rng.integers(0, 40, size=20).astype(np.int32)
    return Batch(
        unique_rows=np.arange(40, dtype=np.int32),
        history=rng.integers(0, 40, size=(7, 5)).astype(np.int32),
        prefixes=np.asarray(LENGTHS),
        target=rng.integers(0, 40, size=(7, 2)).astype(np.int32),
        negatives=negatives,
        log_q_target=rng.normal(size=(7, 2)).astype(np.float32),
        log_q_negatives=rng.normal(size=20).astype(np.float32),
        key=np.array([1, 2], np.uint32),
    )


@pytest.mark.parametrize(
    "own",
    [
        losses.Objective(
            temperature=0.2,
            neg_score="max",
            scoring=Scoring(cosine=True, tied=False, normalize_history=True),
        ),
        losses.Objective(routing_penalty=2.0),
        losses.Objective(temperature=0.1, hard_negatives=0.5, scoring=Scoring(cosine=True)),
    ],
    ids=["untied", "penalty", "hard"],
)
def test_ensemble_loss_is_the_mean_of_the_members_losses(own: losses.Objective) -> None:
    """Each member's by a run of its own, on its stretches of the items' vectors."""
    objective = replace(own, scoring=replace(own.scoring, ensemble=MEMBERS))
    model = with_ensemble(base("Queries"), MEMBERS)
    params = moved(model.init(jax.random.key(3), SHAPE))
    width = objective.scoring.width(12)
    value = jnp.asarray(np.random.default_rng(4).normal(size=(40, width)), jnp.float32)
    key = jax.random.key(9)
    made = jax.jit(_make_loss(model, objective))(params, value, a_batch(), key)
    loss_alone = jax.jit(_make_loss(base("Queries"), own))
    halves = [value] if own.scoring.tied else jnp.split(value, 2, axis=1)
    expected = [
        loss_alone(
            alone(params, member),
            jnp.concatenate([parted(half, MEMBERS)[member] for half in halves], axis=1),
            a_batch(),
            key,
        )
        for member in range(MEMBERS)
    ]
    np.testing.assert_allclose(made, np.mean(expected), rtol=1e-5)


def test_ensemble_product_is_the_mean_of_the_members_cosines() -> None:
    """As evaluation and export have them: interests and candidates of length 1."""
    config = small_config(ensemble=2, embedding_dim=6, hidden_size=6, temperature=0.1)
    scoring = config.scoring
    assert scoring == Scoring(cosine=True, ensemble=2)
    model = with_ensemble(base("ComiRec-SA"), 2)
    shape = ModelShape(5, 12, 12, 3)
    arrays = initial_arrays(model, shape, 40, seed=1, scoring=scoring)
    ids = np.random.default_rng(5).integers(1, 41, size=(7, 5)).astype(np.int32)
    lengths = np.full(7, 5, np.int32)
    retriever = retriever_of(model, scoring, arrays)
    interests, items = retriever.interests(ids, lengths), retriever.item_vectors()
    np.testing.assert_allclose(np.linalg.norm(interests, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(items[1:], axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(items, unit(arrays.rows[:, :12], 2), rtol=1e-5, atol=1e-7)
    values = arrays.rows[:, :12]
    raw = model.interests(
        arrays.params, values[ids], prefix_mask(jnp.asarray(lengths), 5, jnp.float32)
    )
    cosines = [
        np.einsum("ukd,vd->ukv", unit(own), unit(item))
        for own, item in zip(parted(raw, 2), parted(values, 2), strict=True)
    ]
    np.testing.assert_allclose(
        np.einsum("ukd,vd->ukv", interests, items), np.mean(cosines, axis=0), rtol=1e-4, atol=1e-5
    )


def test_ensemble_of_one_member_is_the_model_itself() -> None:
    model = base("Queries")
    assert with_ensemble(model, 1) is model
