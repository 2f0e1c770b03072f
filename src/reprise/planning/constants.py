"""Constants of a machine, measured there, by which times are expected; kept in a JSON file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reprise import durable
from reprise.errors import DataError

_FORMAT = 1


@dataclass(frozen=True)
class Constants:
    """What was measured of a machine and of a step on it.

    Attributes:
        machine: The processor or accelerator.
        shared: Whether its devices share it, as virtual ones of a CPU do.
        of: The settings of the step that was measured.
        devices, processes: On which it was.
        flops: Of matrix products, a second.
        memory_rate: Bytes a second between processor and memory.
        exchange_seconds: Of a sum over the devices, without its bytes; 0: there was one.
        exchange_rate: Bytes a second that each device sends in such a sum; 0: there was one.
        step_seconds: Of the step.
        floor_seconds: What its products and its memory traffic take by the above.
        user_seconds: Of an evaluation, for a user.
        score_seconds: And for each item that is scored for a user.
        row_seconds: And for each row of the table.
    """

    machine: str
    shared: bool
    of: str
    devices: int
    processes: int
    flops: float
    memory_rate: float
    exchange_seconds: float
    exchange_rate: float
    step_seconds: float
    floor_seconds: float
    user_seconds: float
    score_seconds: float
    row_seconds: float


_MAY_BE_ZERO = ("exchange_seconds", "exchange_rate", "user_seconds", "row_seconds")


def read(path: Path) -> Constants:
    """Read constants that `write` wrote; DataError where the file is something else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError("plan_constants_unreadable", path=path, reason=reason) from error
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise DataError("plan_constants_other", path=path)
    for field in fields(Constants):
        if not _is_good(field.name, field.type, content):
            raise DataError("plan_constants_bad", path=path, name=field.name)
    return Constants(**{field.name: content[field.name] for field in fields(Constants)})


def write(path: Path, constants: Constants) -> None:
    """Write constants to a file, in the place of what is there."""
    durable.make_folder(path.absolute().parent)
    text = json.dumps({"format": _FORMAT, **asdict(constants)}, indent=1)
    durable.replace_file(path, f"{text}\n".encode())


def _is_good(name: str, kind: Any, content: Mapping[str, Any]) -> bool:
    value = content.get(name)
    if kind in (str, bool):
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        return False
    return math.isfinite(value) and (value > 0 or (value == 0 and name in _MAY_BE_ZERO))
