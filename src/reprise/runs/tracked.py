"""What a run keeps of its trackers, in trackers.json.

copy    of an imported run: makes it a run of its own in every tracker
used    names of the trackers that it was logged to
sent    of trackers that cannot be asked what they hold: by name and key, the number and the chained
        digest of the evaluations that were sent, and which attempt they belong to

`reprise runs export` leaves it out, and `import` writes a new one.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reprise import durable

FILE = "trackers.json"


@dataclass(frozen=True)
class Tracked:
    """The content of trackers.json."""

    copy: str = ""
    used: tuple[str, ...] = ()
    sent: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read(run: Path) -> Tracked:
    """Return what a run keeps of its trackers; nothing where it cannot be read."""
    try:
        content = json.loads((run / FILE).read_text(encoding="utf-8"))
        copy, used, sent = content["copy"], content["used"], content["sent"]
    except (OSError, ValueError, KeyError, TypeError):
        return Tracked()
    known = isinstance(copy, str) and isinstance(used, list) and isinstance(sent, dict)
    return Tracked(copy, tuple(map(str, used)), sent) if known else Tracked()


def write(run: Path, tracked: Tracked) -> None:
    """Replace trackers.json."""
    text = json.dumps(asdict(tracked), indent=1, ensure_ascii=False)
    durable.replace_file(run / FILE, f"{text}\n".encode())


def own_copy() -> Tracked:
    """Return what makes a copy of a run one of its own."""
    return Tracked(copy=os.urandom(8).hex())
