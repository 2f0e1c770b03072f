"""Older checkpoints of our own: each schema is lifted to the next, step by step."""

from collections.abc import Callable, Mapping
from typing import Any

SCHEMA = 3
FIRST_SCHEMA_WITH_BEST = 2


def migrate(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `state.json` in today's schema; ValueError for an unknown schema."""
    schema = int(state["schema"])
    if not 1 <= schema <= SCHEMA:
        raise ValueError(f"schema {schema} is unknown to this version (1 to {SCHEMA} are known)")
    lifted = dict(state)
    for version in range(schema, SCHEMA):
        lifted = _STEPS[version](lifted)
    return lifted


def _add_best(state: dict[str, Any]) -> dict[str, Any]:
    """1 -> 2: the best metric and the patience used were not kept."""
    unknown = {
        "evaluated_step": 0,
        "metric": None,
        "best": None,
        "evaluations_without_improvement": 0,
    }
    return state | {"schema": 2, "progress": unknown | state["progress"]}


def _add_environment(state: dict[str, Any]) -> dict[str, Any]:
    """2 -> 3: what computed a checkpoint was not kept."""
    return state | {"schema": 3, "environment": {}}


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _add_best, 2: _add_environment}
