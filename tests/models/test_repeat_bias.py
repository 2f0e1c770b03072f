"""The repeat bias in the loss and in the lists, and how it is learned."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.builders_data import added_to, draft_of, split_of
from helpers.commands import run_small, small_config
from helpers.effort import examples
from reprise.checkpoints import store
from reprise.data.dataset import SPLITS
from reprise.data.prepare import publish
from reprise.models.registry import ModelShape, get_model
from reprise.models.scoring import REPEAT_BIAS, Scoring
from reprise.models.wrappers.ensemble import with_ensemble
from reprise.models.wrappers.repeat_bias import with_repeat_bias
from reprise.retrieval import search
from reprise.retrieval.ranking import NO_ITEM
from reprise.retrieval.terms import Terms
from reprise.training import losses
from reprise.training.batches import Batch
from reprise.training.step import _make_loss

SHAPE = ModelShape(history_length=5, embedding_dim=6, hidden_size=6, num_interest=2)
ROWS = 12
KEY = jax.random.key(4)


def a_batch() -> Batch:
    """Return three users' batch over few rows: what is drawn has often been seen."""
    rng = np.random.default_rng(7)
    return Batch(
        unique_rows=np.arange(1, ROWS + 1, dtype=np.int32),
        history=rng.integers(0, ROWS, (3, 5)).astype(np.int32),
        prefixes=np.array([[1, 5], [3, 2], [4, 4]], np.int32),
        target=rng.integers(0, ROWS, (3, 2)).astype(np.int32),
        negatives=rng.integers(0, ROWS, 9).astype(np.int32),
        log_q_target=rng.normal(size=(3, 2)).astype(np.float32),
        log_q_negatives=rng.normal(size=9).astype(np.float32),
        key=np.zeros(2, np.uint32),
    )


def loop_loss(value: NDArray[Any], made: NDArray[Any], worth: float, temperature: float) -> float:
    """Return the mean cross-entropy of each target, one score after the other, by cosine and by
    each candidate's own best interest of made [B, m, K, d].
    """
    batch, vectors, total = a_batch(), oracles.unit(value), list[float]()
    for user, lengths in enumerate(batch.prefixes):
        for place, length in enumerate(lengths):
            seen = set(batch.history[user, :length].tolist())
            own = oracles.unit(made[user, place])

            def score(row: int, own: Any = own, seen: set[int] = seen) -> float:
                best = max(float(interest @ vectors[row]) for interest in own)
                return (best + (worth if row in seen else 0.0)) / temperature

            target = int(batch.target[user, place])
            positive = score(target) - float(batch.log_q_target[user, place])
            logits = [positive] + [
                score(int(row)) - float(log_q)
                for row, log_q in zip(batch.negatives, batch.log_q_negatives, strict=True)
                if row != target
            ]
            total.append(math.log(sum(math.exp(logit) for logit in logits)) - positive)
    return sum(total) / len(total)


@pytest.mark.parametrize("most_scores", [2**24, 20])
def test_repeat_bias_is_added_in_the_loss_to_items_of_the_history(
    most_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All targets at once or a few at a time; the gradient is that of the loss."""
    monkeypatch.setattr("reprise.training.best_interest._MOST_SCORES", most_scores)
    model = with_repeat_bias(get_model("ComiRec-SA"))
    params = model.init(KEY, SHAPE)
    value = jnp.asarray(np.random.default_rng(3).normal(size=(ROWS, 6)), jnp.float32)
    scoring = Scoring(cosine=True, repeat_bias=True)
    objective = losses.Objective(temperature=0.3, neg_score="max", scoring=scoring)
    loss_and_gradient = jax.jit(jax.value_and_grad(_make_loss(model, objective)))
    batch = a_batch()
    made = np.asarray(model.of_prefixes(params, value[batch.history], jnp.asarray(batch.prefixes)))

    def expected(worth: float) -> float:
        return loop_loss(np.asarray(value, np.float64), made, worth, 0.3)

    for worth in (0.0, -0.7, 0.4):
        computed, gradient = loss_and_gradient(
            {**params, REPEAT_BIAS: jnp.float32(worth)}, value, batch, KEY
        )
        assert float(computed) == pytest.approx(expected(worth), rel=1e-5)
        slope = (expected(worth + 1e-5) - expected(worth - 1e-5)) / 2e-5
        assert float(gradient[REPEAT_BIAS]) == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    "objective",
    [
        losses.COMIREC,
        pytest.param(
            losses.Objective(
                selection="soft", hard_negatives=0.5, temperature=0.2, scoring=Scoring(cosine=True)
            ),
            marks=pytest.mark.long,
        ),
        pytest.param(
            losses.Objective(
                temperature=0.2,
                neg_score="max",
                scoring=Scoring(cosine=True, ensemble=2, normalize_history=True),
            ),
            marks=pytest.mark.long,
        ),
    ],
    ids=["comirec", "soft", "members"],
)
def test_repeat_bias_of_zero_keeps_the_loss_bitwise(objective: losses.Objective) -> None:
    """(Operation by operation: no compiler has a say in what is added to what.)"""
    plain = with_ensemble(get_model("Queries"), objective.scoring.ensemble)
    model = with_repeat_bias(plain)
    params = model.init(KEY, SHAPE)
    assert params[REPEAT_BIAS] == 0
    value = jnp.asarray(np.random.default_rng(3).normal(size=(ROWS, 6)), jnp.float32)
    repeats = replace(objective.scoring, repeat_bias=True)
    learned = _make_loss(model, replace(objective, scoring=repeats))
    ignored = _make_loss(plain, objective)
    own = {name: param for name, param in params.items() if name != REPEAT_BIAS}
    assert learned(params, value, a_batch(), KEY) == ignored(own, value, a_batch(), KEY)
    moved = {**params, REPEAT_BIAS: jnp.float32(-0.5)}
    assert learned(moved, value, a_batch(), KEY) != learned(params, value, a_batch(), KEY)


@examples(60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 30),
    st.integers(1, 20),
    st.sampled_from([-100.0, -2.0, -1.0, 1.0, 3.0, -math.inf]),
)
def test_repeat_bias_is_added_to_the_scores_of_the_lists(
    seed: int, users: int, count: int, num_items: int, top_n: int, worth: float
) -> None:
    rng = np.random.default_rng(seed)  # small whole numbers: scores are exact, ties frequent
    interests = rng.integers(-2, 3, (users, count, 3)).astype(np.float32)
    items = rng.integers(-2, 3, (num_items, 3)).astype(np.float32)
    seen = [rng.integers(1, num_items + 1, rng.integers(0, 12)).tolist() for _ in range(users)]
    terms = Terms(added_to(seen, worth))
    (ranking,) = search.search([search.Chunk(interests, top_n, terms)], items)
    for user in range(users):
        scored = {
            item: score + (worth if item in seen[user] else 0.0)
            for item, score in oracles.rank(interests[user], items)
        }
        expected = oracles.merged((item, s) for item, s in scored.items() if s > -math.inf)
        found = zip(ranking.ids[user].tolist(), ranking.scores[user].tolist(), strict=True)
        assert [pair for pair in found if pair[0] != NO_ITEM][:top_n] == expected[:top_n]


@pytest.mark.parametrize(("again", "sign"), [(False, -1), (True, 1)])
def test_repeat_bias_is_learned_from_repeat_behaviour(
    tmp_path: Path, again: bool, sign: int
) -> None:
    """It falls where nobody comes back to an item, and rises where everybody does; evaluation
    ranks by it.
    """
    rng = np.random.default_rng(1)
    splits = {}
    for split, count in zip(SPLITS, (60, 20, 20), strict=True):
        some = [(rng.permutation(40)[:10] + 1).tolist() for _ in range(count)]
        splits[split] = split_of([own[:5] + own[:5] if again else own for own in some])
    publish(draft_of(splits, np.full(41, -1, np.int32)), "small", tmp_path / "data" / "small")
    asked: dict[str, Any] = {"repeat_bias": True, "temperature": 0.2, "max_steps": 60}
    asked |= {"learning_rate": 0.01, "test_iter": 20}
    _, recorder, folder = run_small(tmp_path / "data", tmp_path / "runs", **asked)
    params = store.load(store.read(folder.checkpoints / "ckpt-60")).arrays
    worth = float(params[f"params.{REPEAT_BIAS}"])
    assert sign * worth > 0.1
    _, plain, _ = run_small(
        tmp_path / "data", tmp_path / "plain", **{**asked, "repeat_bias": False}
    )
    assert recorder.lines[-1]["valid_recall@10"] > plain.lines[-1]["valid_recall@10"]


def test_repeat_bias_is_ignored_by_models_without_training() -> None:
    assert not small_config(model="MostPop", repeat_bias=True).repeat_bias
    assert small_config(repeat_bias=True).scoring.repeat_bias
