"""A run's training history, from its events and evaluations."""

from typing import Any

import pytest

from reprise.runs.events import best_of, is_event, kept_lines, starts
from reprise.training.state import Best


def line(step: int, branch: int, recall: float, best: float, best_step: int) -> dict[str, Any]:
    return {
        "step": step,
        "branch": branch,
        "valid_recall@50": recall,
        "best_recall@50": best,
        "best_step": best_step,
    }


def test_history_best_is_of_the_branch_that_has_its_metric() -> None:
    """A step may be evaluated on several branches."""
    lines = [line(5, 0, 0.3, 0.3, 5), line(10, 0, 0.1, 0.3, 5), line(10, 1, 0.4, 0.4, 10)]
    assert best_of(lines, None) == Best(0.4, 10, 1)
    assert best_of(lines[:2], None) == Best(0.3, 5, 0)
    stored = Best(0.2, 3, 1)
    assert best_of([], stored) == stored
    assert best_of([line(5, 0, 0.3, 0.3, 5) | {"best_recall@50": "0.3"}], stored) == stored


def test_history_drops_what_a_second_rewind_to_the_first_branch_discarded() -> None:
    events: list[dict[str, Any]] = [
        {"event": "created", "from": None, "step": 0, "branch": 0},
        {"event": "resumed", "from": "ckpt-5", "step": 5, "branch": 1},
        {"event": "resumed", "from": "ckpt-15", "step": 15, "branch": 2},  # the first's again
    ]
    steps = [(5, 0), (10, 0), (15, 0), (10, 1), (20, 2)]
    lines = [line(step, branch, 0.1, 0.1, 5) for step, branch in steps]
    kept = [(one["step"], one["branch"]) for one in kept_lines(starts(events), lines)]
    assert kept == [(5, 0), (10, 0), (15, 0), (20, 2)]


@pytest.mark.parametrize(
    "event",
    [
        *([], None, {"event": ["created"]}, {"step": "x"}, {"branch": None}, {"at": 5}),
        *({"from": 5}, {"changes": "jax"}, {"changes": [1]}),
    ],
)
def test_history_ignores_what_is_not_an_event(event: Any) -> None:
    assert not is_event(event)
    assert is_event({"event": "of a later version", "more": 1})
