"""Early stopping, against ComiRec's loop in plain Python."""

import math

from hypothesis import given
from hypothesis import strategies as st

from helpers import oracles
from helpers.effort import examples
from reprise.training.state import Best, Progress
from reprise.training.stopping import out_of_patience, record_evaluation

relaxed = examples(200)
# Few distinct values, so that ties are common.
metrics = st.lists(
    st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, math.nan, math.inf, -math.inf]), max_size=30
)
EVERY, BRANCH = 10, 2


def evaluated(values: list[float]) -> list[Progress]:
    """Return the progress after each evaluation, one every EVERY steps."""
    progress, seen = Progress(learning_rate=0.1, branch=BRANCH), []
    for number, metric in enumerate(values):
        at_step = Progress(**{**vars(progress), "step": (number + 1) * EVERY})
        progress = record_evaluation(at_step, metric)
        seen.append(progress)
    return seen


@relaxed
@given(metrics, st.integers(0, 5))
def test_record_evaluation_equals_comirecs_loop(values: list[float], patience: int) -> None:
    expected = oracles.early_stopping(values, patience)
    for progress, (best, trials, stop) in zip(evaluated(values), expected, strict=True):
        assert progress.evaluations_without_improvement == trials
        assert out_of_patience(progress, patience) == stop
        if best is None:
            assert progress.best is None
        else:
            assert progress.best == Best(values[best], (best + 1) * EVERY, BRANCH)


@relaxed
@given(metrics)
def test_record_evaluation_changes_step_and_metric_only(values: list[float]) -> None:
    for number, progress in enumerate(evaluated(values)):
        assert progress.evaluated_step == progress.step == (number + 1) * EVERY
        metric = values[number]
        assert progress.metric == (metric if math.isfinite(metric) else None)
        assert (progress.learning_rate, progress.branch) == (0.1, BRANCH)
        assert progress.is_best == (progress.evaluations_without_improvement == 0)


def test_record_evaluation_keeps_the_earlier_of_a_tie() -> None:
    *_, last = evaluated([0.25, 0.5, 0.5])
    assert last.best == Best(0.5, 2 * EVERY, BRANCH)
    assert last.evaluations_without_improvement == 1


def test_record_evaluation_takes_a_first_metric_of_zero_as_the_best() -> None:
    (progress,) = evaluated([0.0])
    assert progress.best == Best(0.0, EVERY, BRANCH)


def test_out_of_patience_at_zero_is_the_first_evaluation_without_improvement() -> None:
    better, worse = evaluated([0.5, 0.25])
    assert not out_of_patience(better, 0)
    assert out_of_patience(worse, 0)
    assert not out_of_patience(worse, 1)
