"""Metrics, against ComiRec's loops and the textbook's NDCG."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers import oracles
from helpers.effort import examples
from helpers.pages import DOCS
from reprise.evaluation import metrics
from reprise.evaluation.metrics import Lists, measured
from reprise.text.messages import Language, Messages

relaxed = examples(120)
seeds = st.integers(0, 2**32 - 1)
ITEMS, CUTOFFS = 15, (1, 3, 8)
NAMES = ("recall", "ndcg", "ndcg_comirec", "hitrate", "mrr", "map", "precision")


def random_lists(
    rng: np.random.Generator, users: int, width: int, full: bool = False
) -> NDArray[np.int64]:
    """Return lists of distinct items; unless `full`, some end early in NO_ITEM."""
    ids = np.stack([rng.permutation(ITEMS)[:width] + 1 for _ in range(users)])
    if not full:
        ids[np.arange(width) >= rng.integers(0, 2 * width, users)[:, None]] = 0
    return ids


def random_targets(
    rng: np.random.Generator, users: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return offsets and items of one to six targets a user, repeats among them."""
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 7, users))])
    return offsets, rng.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)


def of_targets(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    cutoffs: tuple[int, ...],
) -> dict[str, NDArray[np.float64]]:
    return dict(measured(Lists(ids, offsets, items), cutoffs, ("targets",)))


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_metrics_equal_the_loops(seed: int, users: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    ids = random_lists(rng, users, width)
    offsets, items = random_targets(rng, users)
    computed = of_targets(ids, offsets, items, CUTOFFS)
    assert set(computed) == {f"{name}@{n}" for name in NAMES for n in CUTOFFS}
    for user in range(users):
        recommended = [item for item in ids[user].tolist() if item != 0]
        targets = items[offsets[user] : offsets[user + 1]].tolist()
        for n in CUTOFFS:
            expected = oracles.metrics_at(recommended, targets, n)
            found = {name: computed[f"{name}@{n}"][user] for name in NAMES}
            assert found == pytest.approx(expected)


def test_metrics_count_repeated_targets_once_as_hits_but_each_in_the_length() -> None:
    ids = np.array([[4, 2, 9]])
    computed = of_targets(ids, np.array([0, 4]), np.array([4, 4, 4, 7], np.int32), (3,))
    assert computed["recall@3"][0] == 1 / 4
    assert computed["hitrate@3"][0] == 1.0
    assert computed["ndcg_comirec@3"][0] == 1.0  # one hit, at rank 1
    assert computed["ndcg@3"][0] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_metrics_never_count_padding_as_a_hit() -> None:
    computed = of_targets(np.zeros((1, 5), int), np.array([0, 1]), np.array([3]), (5,))
    assert {name: value[0] for name, value in computed.items()} == dict.fromkeys(computed, 0.0)


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_catalogue_coverage_counts_the_items_in_any_list(seed: int, users: int, width: int) -> None:
    ids = random_lists(np.random.default_rng(seed), users, width)
    shown = {item for row in ids.tolist() for item in row if item != 0}
    assert metrics.catalogue_coverage(ids, ITEMS) == len(shown) / ITEMS


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_gini_is_half_the_mean_difference_of_exposures(seed: int, users: int, width: int) -> None:
    ids = random_lists(np.random.default_rng(seed), users, width)
    exposure = [int((ids == item).sum()) for item in range(1, ITEMS + 1)]
    assert metrics.gini(ids, ITEMS) == pytest.approx(oracles.gini(exposure))


def test_gini_is_0_for_even_exposure_and_near_1_for_one_item() -> None:
    everything = np.arange(1, ITEMS + 1)[None]
    assert metrics.gini(everything, ITEMS) == 0
    assert metrics.gini(np.full((9, 1), 3), ITEMS) == pytest.approx(1 - 1 / ITEMS)
    assert metrics.gini(np.zeros((4, 5), int), ITEMS) == 0


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_novelty_and_popularity_equal_the_loops(seed: int, users: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.concatenate([[0], rng.integers(0, 5, ITEMS)])
    counts[1] += 1  # training is of something
    ids = random_lists(rng, users, width)
    lists = [[item for item in row if item] for row in ids.tolist()]
    held = Lists(ids, np.arange(users + 1), np.ones(users, np.int32), ITEMS, training_counts=counts)
    found = dict(measured(held, (3,), ("list",)))
    known = counts.tolist()
    assert found["novelty@3"].tolist() == pytest.approx(
        [oracles.novelty(one[:3], known) for one in lists]
    )
    assert found["popularity@3"].tolist() == pytest.approx(
        [oracles.average_popularity(one[:3], known) for one in lists]
    )


@pytest.mark.parametrize(("language", "page"), [("en", "metrics.md"), ("zh", "zh/metrics.md")])
def test_metrics_are_documented_under_their_labels(language: Language, page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)@n` \| .+ \| .*\|$", text, re.MULTILINE)
    messages = Messages(language)
    labels = [(messages.metric(one.name, one.label), one.name) for one in metrics.METRICS]
    assert [row for row in rows if row[1] in metrics.BY_NAME] == labels


def test_metrics_in_the_training_log_are_fixed() -> None:
    """Their keys are part of the bytes of metrics.jsonl and of every checkpoint."""
    assert [metric.name for metric in metrics.IN_TRAINING] == [
        *("recall", "ndcg", "ndcg_comirec", "hitrate", "mrr", "diversity", "interest_coverage"),
        "catalogue_coverage",
    ]


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_metrics_equal_those_of_trec_eval(seed: int, users: int, width: int) -> None:
    """Recall, NDCG, MAP, precision and MRR, of targets that differ, as trec_eval's are."""
    trec = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed")
    rng = np.random.default_rng(seed)
    ids = random_lists(rng, users, width)
    targets = [rng.permutation(ITEMS)[: rng.integers(1, 7)] + 1 for _ in range(users)]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in targets])])
    computed = of_targets(ids, offsets, np.concatenate(targets).astype(np.int32), CUTOFFS)
    wanted = {f"u{user}": {str(item): 1 for item in own} for user, own in enumerate(targets)}
    names = {"recall": "recall", "ndcg": "ndcg_cut", "map": "map_cut", "precision": "P"}
    measures = {f"{name}.{','.join(map(str, CUTOFFS))}" for name in names.values()}
    lists = {
        n: {
            f"u{user}": {str(item): float(-place) for place, item in enumerate(row[:n]) if item}
            for user, row in enumerate(ids.tolist())
        }
        for n in CUTOFFS
    }
    whole = trec.RelevanceEvaluator(wanted, measures).evaluate(lists[max(CUTOFFS)])
    for n in CUTOFFS:
        cut = trec.RelevanceEvaluator(wanted, {"recip_rank"}).evaluate(lists[n])
        for user in range(users):
            if not lists[n][f"u{user}"]:  # trec_eval leaves out who has no list
                assert all(computed[f"{name}@{n}"][user] == 0 for name in NAMES)
                continue
            found = whole[f"u{user}"]
            expected = {name: found[f"{theirs}_{n}"] for name, theirs in names.items()}
            expected["mrr"] = cut[f"u{user}"]["recip_rank"]
            own = {name: computed[f"{name}@{n}"][user] for name in expected}
            assert own == pytest.approx(expected)


@examples(40)
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_coverage_novelty_and_popularity_are_those_of_rs_metrics(
    seed: int, users: int, width: int
) -> None:
    """Its popularity is a share of the users: ours is their number times as high. Its surprisal is
    of that share, ours of the share of all interactions: log2(interactions / users) bits more.
    """
    public = pytest.importorskip("rs_metrics", reason="rs-metrics is not installed")
    frames = pytest.importorskip("pandas", reason="pandas is not installed")
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(rng.random((8, ITEMS)) < rng.random(ITEMS)) + 1
    pairs = np.concatenate([pairs, [[1, 1]]])  # training is of something
    log = frames.DataFrame(pairs, columns=["user_id", "item_id"]).drop_duplicates()
    trained_on, interactions = log["user_id"].nunique(), len(log)
    counts = np.bincount(log["item_id"], minlength=ITEMS + 1)
    ids = random_lists(rng, users, width)
    lists = {user: [item for item in row if item] for user, row in enumerate(ids.tolist())}
    named = {user: own for user, own in lists.items() if own}  # no items have no mean there
    held = Lists(ids, np.arange(users + 1), np.ones(users, np.int32), ITEMS, training_counts=counts)
    found = dict(measured(held, CUTOFFS, ("list", "catalogue")))
    for n in CUTOFFS:
        coverage = public.coverage(list(range(1, ITEMS + 1)), lists, k=n)
        assert found[f"catalogue_coverage@{n}"] == pytest.approx(coverage)
        if not named:
            continue
        popularity = public.popularity(log, named, k=n) * trained_on
        assert found[f"popularity@{n}"][list(named)].mean() == pytest.approx(popularity)
        novelty = public.surprisal(log, named, k=n) + np.log2(interactions / trained_on)
        assert found[f"novelty@{n}"][list(named)].mean() == pytest.approx(novelty)


def test_gini_is_that_of_lenskit() -> None:
    """As `helpers/lenskit_gini.py` stored it: LensKit needs older packages than the tests have."""
    stored = json.loads(Path(__file__).with_name("lenskit_gini.json").read_text())
    assert len(stored["cases"]) == 12
    for case in stored["cases"]:
        ids = np.zeros((len(case["lists"]), max(map(len, case["lists"]))), int)
        for row, own in zip(ids, case["lists"], strict=True):
            row[: len(own)] = own
        assert metrics.gini(ids, case["items"]) == pytest.approx(case["gini"])


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_diversity_equals_the_double_loop(seed: int, users: int, width: int) -> None:
    """Over the real items of a list; without a pair there is none."""
    rng = np.random.default_rng(seed)
    category = rng.integers(-1, 4, ITEMS + 1).astype(np.int32)
    ids = random_lists(rng, users, width)
    computed = metrics.diversity(ids, category)
    real = [[item for item in row if item] for row in ids.tolist()]
    expected = [oracles.diversity(row, category.tolist()) if row[1:] else 0.0 for row in real]
    assert computed == pytest.approx(np.array(expected))


@relaxed
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_interest_coverage_equals_the_loop(seed: int, users: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    item_interest = rng.integers(0, 5, ITEMS + 1).astype(np.int32)
    item_interest[0] = -1
    held = np.stack([rng.permutation(5)[:3] for _ in range(users)]).astype(np.int32)
    held[np.arange(3) >= rng.integers(1, 4, users)[:, None]] = -1
    ids = random_lists(rng, users, width)
    computed = metrics.interest_coverage(ids, item_interest, held)
    expected = [
        oracles.interest_coverage(row, item_interest.tolist(), interests)
        for row, interests in zip(ids.tolist(), held.tolist(), strict=True)
    ]
    assert computed == pytest.approx(np.array(expected))


def test_interest_coverage_starts_at_a_tenth_of_the_list() -> None:
    item_interest = np.array([-1, 0, 1, 1, 2, 2, 2, *[3] * 14], np.int32)
    ids = np.arange(1, 21)[None]  # of twenty: one of interest 0, two of 1, three of 2, none of 4
    held = np.array([[0, 1, 2, 4, -1]], np.int32)
    assert metrics.interest_coverage(ids, item_interest, held).tolist() == [0.5]
