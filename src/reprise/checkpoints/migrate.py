"""Migrate older checkpoints: each schema is lifted to the next, step by step.

A new setting needs no new schema: a checkpoint without it means the value that the setting declares
as `absent`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.config.load import lift_identity
from reprise.config.schema import SETTINGS
from reprise.data.dataset import DATA_KEYS
from reprise.errors import ContentError

SCHEMA = 11
FIRST_SCHEMA_WITH_BEST = 2
FIRST_SCHEMA_WITH_ROW_STEPS = 4


def migrate(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `state.json` in today's schema; raise ContentError for an unknown
    schema or an unknown setting in the identity.
    """
    schema = int(state["schema"])
    if not 1 <= schema <= SCHEMA:
        raise ContentError("damage_schema", found=schema, known=SCHEMA)
    lifted = dict(state)
    for version in range(schema, SCHEMA):
        lifted = _STEPS.get(version, dict)(lifted)
    identity = lift_identity(lifted["identity"])
    for key in sorted(identity.keys() - {*SETTINGS, *DATA_KEYS}):
        raise ContentError("damage_setting", name=key)
    return lifted | {"schema": SCHEMA, "identity": identity}


def _add_best(state: dict[str, Any]) -> dict[str, Any]:
    """1 -> 2: add the best metric and the patience used, as unknown."""
    unknown = {
        "evaluated_step": 0,
        "metric": None,
        "best": None,
        "evaluations_without_improvement": 0,
    }
    return state | {"progress": unknown | state["progress"]}


def _add_environment(state: dict[str, Any]) -> dict[str, Any]:
    """2 -> 3: add the environment, as unknown."""
    return state | {"environment": {}}


def _name_added_positions(state: dict[str, Any]) -> dict[str, Any]:
    """6 -> 7: rename the encoder with absolute positions, which is another network with other
    parameters.
    """
    identity = dict(state["identity"])
    if layers := identity.get("encoder_layers"):
        identity["encoder_layers"] = f"{layers}, by added positions"
    return state | {"identity": identity}


def lift_arrays(
    schema: int, arrays: Mapping[str, NDArray[Any]], step: int
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint of `step` in today's schema."""
    lifted = dict(arrays)
    if schema < FIRST_SCHEMA_WITH_ROW_STEPS:
        lifted["row_steps"] = np.full(len(arrays["rows"]), step, np.int32)
    return lifted


# From a schema to the next. Schemas not listed added settings only (see `absent` in
# `config.schema`); 11 moved the log of evaluations out of the checkpoint (see `log`).
_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _add_best,
    2: _add_environment,
    6: _name_added_positions,
}
