"""Older checkpoints of our own: each schema is lifted to the next, step by step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.errors import ContentError

SCHEMA = 10
FIRST_SCHEMA_WITH_BEST = 2
FIRST_SCHEMA_WITH_ROW_STEPS = 4
# What every run did before it could be chosen.
_FIRST_OBJECTIVE: Mapping[str, Any] = {
    "temperature": None,
    "neg_score": "selected",
    "sampler": "log-uniform",
    "next_n": 1,
    "hard_negatives": 0.0,
    "routing_penalty": 0.0,
    "warmup": 0,
    "decay": "none",
    "decay_steps": 0,
}
_FIRST_NETWORK: Mapping[str, Any] = {
    "encoder_layers": 0,
    "encoder_heads": 1,
    "dropout": 0.0,
    "embedding_scale": None,
}
_FIRST_TARGETS: Mapping[str, Any] = {
    "embeddings": "tied",
    "history": "raw",
    "targets": 1,
    "item_dropout": 0.0,
    "first_target": 4,
    "next_share": 0.0,
    "interest_count": "fixed",
}


def migrate(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `state.json` in today's schema; ContentError for an unknown schema."""
    schema = int(state["schema"])
    if not 1 <= schema <= SCHEMA:
        raise ContentError("damage_schema", found=schema, known=SCHEMA)
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


def _add_selection(state: dict[str, Any]) -> dict[str, Any]:
    """3 -> 4: interests were selected by argmax. The optimizer was lazy Adam; its place is left
    open, since a run may go on with any from rows that all stand at its step.
    """
    return state | {"schema": 4, "identity": {"selection": "argmax", **state["identity"]}}


def _add_objective(state: dict[str, Any]) -> dict[str, Any]:
    """4 -> 5: there was one way to score, and no name for it."""
    return state | {"schema": 5, "identity": {**_FIRST_OBJECTIVE, **state["identity"]}}


def _add_network(state: dict[str, Any]) -> dict[str, Any]:
    """5 -> 6: the model stood on the items themselves, which started Glorot uniform."""
    return state | {"schema": 6, "identity": {**_FIRST_NETWORK, **state["identity"]}}


def _add_targets(state: dict[str, Any]) -> dict[str, Any]:
    """6 -> 7: an item was one vector, and a user had one target. An encoder added positions to the
    items, and has other parameters: it is another network, and named so.
    """
    identity = {**_FIRST_TARGETS, **state["identity"]}
    if layers := identity.get("encoder_layers"):
        identity["encoder_layers"] = f"{layers}, by added positions"
    return state | {"schema": 7, "identity": identity}


def _add_members(state: dict[str, Any]) -> dict[str, Any]:
    """7 -> 8: a model was one."""
    return state | {"schema": 8, "identity": {"members": 1, **state["identity"]}}


def _add_repeats(state: dict[str, Any]) -> dict[str, Any]:
    """8 -> 9: an item of the user's own history scored as any other."""
    return state | {"schema": 9, "identity": {"repeats": "ignored", **state["identity"]}}


def _add_valid_users(state: dict[str, Any]) -> dict[str, Any]:
    """9 -> 10: every evaluation was over all users."""
    return state | {"schema": 10, "identity": {"valid_users": 0, **state["identity"]}}


def lift_arrays(
    schema: int, arrays: Mapping[str, NDArray[Any]], step: int
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint of `step` as today's schema has them."""
    lifted = dict(arrays)
    if schema < FIRST_SCHEMA_WITH_ROW_STEPS:
        lifted["row_steps"] = np.full(len(arrays["rows"]), step, np.int32)
    return lifted


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _add_best,
    2: _add_environment,
    3: _add_selection,
    4: _add_objective,
    5: _add_network,
    6: _add_targets,
    7: _add_members,
    8: _add_repeats,
    9: _add_valid_users,
}
