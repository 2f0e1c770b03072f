"""The loss: interest readout and sampled softmax, against loops and finite differences."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.effort import examples
from reprise.config.schema import SETTINGS
from reprise.models.items import unit
from reprise.models.scoring import Scoring
from reprise.training import losses

relaxed = examples(40)
seeds = st.integers(0, 2**32 - 1)
BATCH, NEGATIVES, INTERESTS, DIM = 3, 5, 4, 4


def mean_of(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """What a step minimises of a loss by row."""
    return lambda *given: function(*given).mean()


readouts = {name: jax.jit(readout) for name, readout in losses.READOUTS.items()}
KEY = jax.random.key(2)
comirec: Callable[..., jax.Array] = losses.make_loss(losses.COMIREC)


def sampled_softmax(user: jax.Array, *given: jax.Array) -> jax.Array:
    """ComiRec's loss of users who have one interest [B, d], which leaves nothing to select."""
    return comirec(user[:, None], *given, KEY)


loss = jax.jit(mean_of(sampled_softmax))
gradients = jax.jit(jax.grad(mean_of(sampled_softmax), argnums=(0, 1, 2)))

Inputs = tuple[oracles.Floats, oracles.Floats, oracles.Floats, oracles.Floats, oracles.Floats]


def random_inputs(seed: int, scale: float = 1.0) -> tuple[Inputs, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    user, target = (rng.normal(0, scale, (BATCH, DIM)).astype(np.float32) for _ in range(2))
    negatives = rng.normal(0, scale, (NEGATIVES, DIM)).astype(np.float32)
    log_q_target = rng.uniform(-8, 0, BATCH).astype(np.float32)
    log_q_negatives = rng.uniform(-8, 0, NEGATIVES).astype(np.float32)
    accidental = rng.random((BATCH, NEGATIVES)) < 0.3
    return (user, target, negatives, log_q_target, log_q_negatives), accidental


@relaxed
@given(seeds, st.sampled_from([0.01, 1.0, 30.0]))
def test_sampled_softmax_is_over_target_and_negatives(seed: int, scale: float) -> None:
    inputs, accidental = random_inputs(seed, scale)
    expected = oracles.sampled_softmax(*inputs, accidental)
    assert float(loss(*inputs, accidental)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@examples(10)
@given(seeds)
def test_sampled_softmax_gradient_equals_finite_differences(seed: int) -> None:
    inputs, accidental = random_inputs(seed)
    computed = gradients(*inputs, accidental)
    for number in range(3):

        def of_one(array: oracles.Doubles, number: int = number) -> float:
            user, target, negatives = (array if n == number else inputs[n] for n in range(3))
            return oracles.sampled_softmax(user, target, negatives, *inputs[3:], accidental)

        expected = finite_differences(of_one, inputs[number].astype(np.float64))
        assert np.asarray(computed[number]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def of_objective(
    objective: losses.Objective,
    interests: oracles.Floats,
    inputs: Inputs,
    accidental: NDArray[np.bool_],
) -> float:
    """The oracle of `make_loss`, in double precision."""
    _, target, negatives, log_q_target, log_q_negatives = inputs
    if objective.temperature is not None:
        flat = oracles.unit(interests.reshape(-1, DIM)) / objective.temperature
        interests = flat.reshape(interests.shape)
        target, negatives = oracles.unit(target), oracles.unit(negatives)
    if objective.neg_score == "selected":
        interests = oracles.readout(interests, target)[:, None]
    positive = [oracles.best_score(own, item) for own, item in zip(interests, target, strict=True)]
    negative = [[oracles.best_score(own, item) for item in negatives] for own in interests]
    if objective.positive_power is not None:
        return oracles.gbce_loss(positive, negative, accidental, objective.positive_power)
    expected_counts = (log_q_target, log_q_negatives)
    return oracles.softmax_loss(
        positive, negative, *expected_counts, accidental, objective.hard_negatives
    )


COSINE = Scoring(cosine=True)
OBJECTIVES = {
    "comirec": losses.COMIREC,
    "temperature": losses.Objective(temperature=0.2, scoring=COSINE),
    "max": losses.Objective(neg_score="max"),
    "max, temperature": losses.Objective(neg_score="max", temperature=0.2, scoring=COSINE),
    "gbce": losses.Objective(positive_power=0.3),
    "gbce, max, temperature": losses.Objective(
        positive_power=0.9, neg_score="max", temperature=0.2, scoring=COSINE
    ),
    "hard": losses.Objective(hard_negatives=0.7),
    "hard, max, temperature": losses.Objective(
        hard_negatives=0.3, neg_score="max", temperature=0.5, scoring=COSINE
    ),
}
objective_losses = {
    name: jax.jit(mean_of(losses.make_loss(objective))) for name, objective in OBJECTIVES.items()
}
objective_gradients = {
    name: jax.jit(jax.grad(mean_of(losses.make_loss(objective)), argnums=(0, 1, 2)))
    for name, objective in OBJECTIVES.items()
}


@pytest.mark.parametrize("name", OBJECTIVES)
@relaxed
@given(seeds, st.sampled_from([0.01, 1.0, 5.0]))
def test_objective_equals_the_loops(name: str, seed: int, scale: float) -> None:
    inputs, accidental = random_inputs(seed, scale)
    rng = np.random.default_rng(seed)
    interests = rng.normal(0, scale, (BATCH, INTERESTS, DIM)).astype(np.float32)
    computed = objective_losses[name](interests, *inputs[1:], accidental, KEY)
    expected = of_objective(OBJECTIVES[name], interests, inputs, accidental)
    assert float(computed) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
@examples(5)
@given(seeds)
def test_objective_gradient_equals_finite_differences(name: str, seed: int) -> None:
    inputs, accidental = random_inputs(seed)
    interests = np.random.default_rng(seed).normal(size=(BATCH, INTERESTS, DIM)).astype(np.float32)
    moving: list[oracles.Floats] = [interests, inputs[1], inputs[2]]
    computed = objective_gradients[name](*moving, *inputs[3:], accidental, KEY)
    for number in range(3):

        def of_one(array: oracles.Doubles, number: int = number) -> float:
            made, target, negatives = (array if n == number else moving[n] for n in range(3))
            moved = (inputs[0], target, negatives, *inputs[3:])
            return of_objective(OBJECTIVES[name], made, moved, accidental)

        expected = finite_differences(of_one, moving[number].astype(np.float64))
        assert np.asarray(computed[number]) == pytest.approx(expected, rel=5e-3, abs=1e-4)


@relaxed
@given(seeds, st.sampled_from([0.0, 1e-30, 1e-8, 1e-3, 1.0, 1e4]))
def test_unit_normalises_all_but_tiny_vectors(seed: int, scale: float) -> None:
    vectors = np.random.default_rng(seed).normal(0, scale, (BATCH, DIM)).astype(np.float32)
    computed = np.asarray(unit(jnp.asarray(vectors)))
    assert computed == pytest.approx(oracles.unit(vectors), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_of_all_zero_vectors_has_a_finite_gradient(name: str) -> None:
    """Interests that a ReLU has cut off, and padding."""
    inputs, accidental = random_inputs(5)
    interests = np.zeros((BATCH, INTERESTS, DIM), np.float32)
    for target, negatives in [inputs[1:3], (0 * inputs[1], 0 * inputs[2])]:
        given_ = (interests, target, negatives, *inputs[3:], accidental, KEY)
        assert np.isfinite(objective_losses[name](*given_))
        for gradient in objective_gradients[name](*given_):
            assert np.isfinite(gradient).all()


def test_neg_score_does_not_matter_with_a_single_interest() -> None:
    inputs, accidental = random_inputs(7)
    interests = np.random.default_rng(7).normal(size=(BATCH, 1, DIM)).astype(np.float32)
    given_ = (interests, *inputs[1:], accidental, KEY)
    selected, best = (objective_losses[name](*given_) for name in ("comirec", "max"))
    assert float(best) == pytest.approx(float(selected), rel=1e-6)


@pytest.mark.users_bits
def test_neg_score_max_gives_no_gradient_to_interests_that_are_never_best() -> None:
    inputs, accidental = random_inputs(8)
    interests = np.random.default_rng(8).normal(size=(BATCH, INTERESTS, DIM)).astype(np.float32)
    interests[:, 1] = 0.1 * interests[:, 0]  # between the first and its opposite
    interests[:, 2] = -interests[:, 0]
    gradient = objective_gradients["max"](interests, *inputs[1:], accidental, KEY)[0]
    assert not np.asarray(gradient[:, 1]).any()
    assert np.asarray(gradient[:, 0]).any()


@pytest.mark.users_bits
def test_neg_score_max_is_one_matrix_product() -> None:
    """K times the work, but not K products: the graph holds one of [B*K, d] and [d, S]."""
    interests, items = jnp.ones((BATCH, INTERESTS, DIM)), jnp.ones((NEGATIVES, DIM))
    text = jax.jit(losses.best_scores).lower(interests, items).as_text()
    (product,) = (line for line in text.splitlines() if "dot_general" in line)
    assert f"tensor<{BATCH * INTERESTS}x{NEGATIVES}xf32>" in product


@relaxed
@given(seeds, st.sampled_from([0.1, 1.0, 10.0]))
def test_hard_negatives_with_uniform_sampling_are_remis_loss(seed: int, hardness: float) -> None:
    """As the paper writes it, for n uniform negatives and no correction of the target."""
    rng = np.random.default_rng(seed)
    positive, negative = rng.normal(size=BATCH), rng.normal(size=(BATCH, NEGATIVES))
    uniform = np.full(NEGATIVES, math.log(NEGATIVES / 50))
    nothing = jnp.zeros((BATCH, NEGATIVES), bool)
    computed = losses.hard_cross_entropy(
        jnp.asarray(positive - uniform[0]), jnp.asarray(negative), uniform, nothing, hardness
    )
    expected = 0.0
    for s, others in zip(positive, negative, strict=True):
        mean = np.exp((hardness + 1) * others).sum() / np.exp(hardness * others).sum()
        expected += math.log(math.exp(s) + NEGATIVES * mean) - s
    assert float(computed.mean()) == pytest.approx(expected / BATCH, rel=1e-4)


def test_hard_negatives_raise_the_loss_up_to_that_of_the_hardest() -> None:
    positive, negative = jnp.zeros(1), jnp.asarray([[-1.0, 0.5, 2.0, 1.0, 0.0]])
    log_q, kept = np.zeros(NEGATIVES), jnp.zeros((1, NEGATIVES), bool)
    given_ = (positive, negative, log_q, kept)
    plain = float(losses.cross_entropy(positive, negative, kept)[0])
    seen = [float(losses.hard_cross_entropy(*given_, b)[0]) for b in (0.0, 0.1, 1.0, 10.0, 1000.0)]
    assert seen[0] == pytest.approx(plain, rel=1e-6)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(math.log(1 + NEGATIVES * math.exp(2.0)), rel=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_ignore_accidental_hits(name: str) -> None:
    inputs, _ = random_inputs(4)
    interests = np.random.default_rng(4).normal(size=(BATCH, INTERESTS, DIM)).astype(np.float32)
    given_ = (interests, *inputs[1:], np.ones((BATCH, NEGATIVES), bool), KEY)
    found, gradients = float(objective_losses[name](*given_)), objective_gradients[name](*given_)
    if OBJECTIVES[name].positive_power is None:
        assert found == 0.0
    else:  # what is left is the target's
        others = (*given_[:2], 1 - inputs[2], *given_[3:])
        assert found == float(objective_losses[name](*others)) > 0
        gradients = gradients[2:]  # by the negatives
    for gradient in gradients:
        assert not np.asarray(gradient).any()


@relaxed
@given(seeds)
def test_routing_penalty_is_the_squared_variance_over_the_items(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attention = rng.random((BATCH, INTERESTS, 6)).astype(np.float32)
    lengths = rng.integers(1, 7, BATCH)
    mask = (np.arange(6) < lengths[:, None]).astype(np.float32)
    computed = losses.attention_variance(jnp.asarray(attention), jnp.asarray(mask)).mean()
    expected = oracles.attention_variance(attention, lengths.tolist())
    assert float(computed) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    even = losses.attention_variance(jnp.full(attention.shape, 0.25), jnp.asarray(mask))
    assert np.asarray(even) == pytest.approx(0, abs=1e-12)


def test_loss_with_a_temperature_ignores_norms() -> None:
    (_, target, negatives, *log_q), accidental = random_inputs(6)
    interests = np.random.default_rng(6).normal(size=(BATCH, INTERESTS, DIM)).astype(np.float32)
    loss = objective_losses["temperature"]
    once = loss(interests, target, negatives, *log_q, accidental, KEY)
    longer = loss(3 * interests, 7 * target, 0.5 * negatives, *log_q, accidental, KEY)
    assert float(once) == pytest.approx(float(longer), rel=1e-5)


def finite_differences(
    function: Callable[[oracles.Doubles], float], at: oracles.Doubles, step: float = 1e-5
) -> oracles.Doubles:
    gradient = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = np.zeros(at.shape)
        moved[index] = step
        gradient[index] = (function(at + moved) - function(at - moved)) / (2 * step)
    return gradient


@pytest.mark.users_bits
def test_accidental_hit_does_not_affect_the_loss() -> None:
    (user, target, negatives, log_q_target, log_q_negatives), _ = random_inputs(3)
    accidental = np.zeros((BATCH, NEGATIVES), bool)
    accidental[:, 1] = True
    moved = negatives.copy()
    moved[1] += 100.0
    before = loss(user, target, negatives, log_q_target, log_q_negatives, accidental)
    after = loss(user, target, moved, log_q_target, log_q_negatives, accidental)
    assert before == after
    assert not gradients(user, target, moved, log_q_target, log_q_negatives, accidental)[2][1].any()


def test_sampled_softmax_over_the_catalogue_is_the_full_softmax() -> None:
    rng = np.random.default_rng(6)
    catalogue = rng.normal(size=(NEGATIVES, DIM)).astype(np.float32)
    user = rng.normal(size=(BATCH, DIM)).astype(np.float32)
    item = np.array([0, 4, 2])
    computed = sampled_softmax(
        jnp.asarray(user),
        jnp.asarray(catalogue[item]),
        jnp.asarray(catalogue),
        jnp.zeros(BATCH),
        jnp.zeros(NEGATIVES),
        jnp.asarray(item[:, None] == np.arange(NEGATIVES)),
    )
    scores = user.astype(np.float64) @ catalogue.T.astype(np.float64)
    entropies = [math.log(np.exp(row).sum()) - row[i] for row, i in zip(scores, item, strict=True)]
    assert np.asarray(computed) == pytest.approx(entropies, rel=1e-5)


@pytest.mark.users_bits
@relaxed
@given(seeds)
def test_readout_takes_the_nearest_interest_and_the_first_of_a_tie(seed: int) -> None:
    rng = np.random.default_rng(seed)
    interests = rng.integers(-1, 2, (BATCH, INTERESTS, DIM)).astype(np.float32)  # many exact ties
    target = rng.integers(-1, 2, (BATCH, DIM)).astype(np.float32)
    chosen = readouts["argmax"](interests, target, KEY)
    np.testing.assert_array_equal(chosen, oracles.readout(interests, target))


@pytest.mark.users_bits
def test_readout_passes_the_gradient_to_the_selected_interest_only() -> None:
    interests = np.array([[[1.0, 0.0], [3.0, 0.0], [2.0, 5.0]]], np.float32)
    target = np.array([[1.0, 0.0]], np.float32)
    gradient = jax.grad(lambda x: readouts["argmax"](x, target, KEY).sum())(interests)
    np.testing.assert_array_equal(gradient, [[[0, 0], [1, 1], [0, 0]]])


@pytest.mark.users_bits
def test_selections_are_the_choices_of_the_setting() -> None:
    assert sorted(SETTINGS["selection"].choices) == sorted(losses.READOUTS)


@pytest.mark.parametrize("selection", SETTINGS["selection"].choices)
def test_readout_selects_by_the_targets_own_embedding(selection: str) -> None:
    """Hand-made interests along the axes, far from one another: a target along an axis is given
    the interest of that axis, wherever it stands; only `item0` does not look at the target.
    """
    axes = 40 * np.eye(DIM, dtype=np.float32)[:INTERESTS]
    rng = np.random.default_rng(3)
    for _ in range(20):
        orders = np.stack([rng.permutation(INTERESTS) for _ in range(BATCH)])
        interests, wanted = axes[orders], rng.integers(0, INTERESTS, BATCH)
        target = np.eye(DIM, dtype=np.float32)[wanted]
        chosen = readouts[selection](interests, target, jax.random.key(int(rng.integers(99))))
        expected = interests[:, 0] if selection == "item0" else axes[wanted]
        np.testing.assert_allclose(chosen, expected, atol=1e-4)


def test_readout_sample_follows_the_softmax() -> None:
    draws = 20_000
    interests = np.random.default_rng(4).normal(size=(1, INTERESTS, DIM)).astype(np.float32)
    target = np.ones((1, DIM), np.float32)
    many = np.repeat(interests, draws, axis=0), np.repeat(target, draws, axis=0)
    chosen = np.asarray(readouts["sample"](*many, KEY))
    scores = interests[0] @ target[0]
    expected = np.exp(scores) / np.exp(scores).sum()
    for interest, chance in zip(interests[0], expected, strict=True):
        share = (chosen == interest).all(axis=1).mean()
        assert share == pytest.approx(chance, abs=float(4 * (chance / draws) ** 0.5))


@relaxed
@given(seeds)
def test_readout_soft_equals_the_weighted_mean_of_the_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    interests = rng.normal(size=(BATCH, INTERESTS, DIM)).astype(np.float32)
    target = rng.normal(size=(BATCH, DIM)).astype(np.float32)
    expected = oracles.soft_readout(interests, target)
    np.testing.assert_allclose(
        readouts["soft"](interests, target, KEY), expected, rtol=1e-4, atol=1e-5
    )


def test_positive_power_calibrates_between_one_and_the_share() -> None:
    """On a catalogue of 101 items, of which 20 are negatives: the share is 0.2."""
    powers = [losses.positive_power(20, 101, t) for t in (0, 0.5, 0.75, 1)]
    assert powers == pytest.approx([1, 0.6, 0.4, 0.2])
    assert losses.positive_power(101, 101, 0.75) == 1  # all items


def test_gbce_of_calibrated_power_finds_the_log_odds_of_the_targets() -> None:
    """Of t = 1, the best score of an item that is the target in a share p of the rows is the log
    odds of p, as if all others were negatives, though only a fifth are.
    """
    share, chance = 0.2, 0.3
    power = losses.positive_power(20, 101, 1)
    targets, negatives = chance, share * (1 - chance)  # how often it is either

    def of_score(score: float) -> float:
        positive, negative = (jnp.full((1, *shape), score) for shape in ((), (1,)))
        none = jnp.zeros((1, 1), bool)
        as_target = losses.generalized_binary_cross_entropy(positive, negative - 1e9, none, power)
        as_negative = losses.generalized_binary_cross_entropy(positive + 1e9, negative, none, power)
        return float(targets * as_target[0] + negatives * as_negative[0])

    best = math.log(chance / (1 - chance))
    assert of_score(best) < min(of_score(best - 0.1), of_score(best + 0.1))


@relaxed
@given(seeds)
def test_alikeness_is_the_mean_squared_cosine_of_pairs(seed: int) -> None:
    interests = np.random.default_rng(seed).normal(size=(2, 3, INTERESTS, DIM)).astype(np.float32)
    computed = np.asarray(losses.alikeness(jnp.asarray(interests)))
    for place in np.ndindex(2, 3):
        own = oracles.unit(interests[place])
        pairs = [(a, b) for a in range(INTERESTS) for b in range(a)]
        expected = np.mean([float(own[a] @ own[b]) ** 2 for a, b in pairs])
        assert computed[place] == pytest.approx(expected, rel=1e-4, abs=1e-6)
