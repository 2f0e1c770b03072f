"""Take the steps that are measured in several processes of this machine, over loopback."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reprise.config.schema import TrainConfig
from reprise.errors import DeviceError
from reprise.planning.description import Description
from reprise.planning.steps import Stepped, stepped
from reprise.runtime.mesh import mesh_of
from reprise.runtime.processes import Place
from reprise.runtime.setup import setup

_PATIENCE = 300  # seconds


def stepped_together(tried: Description) -> Stepped:
    """Return what process 0 measured of the steps of all; DeviceError where it has failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    about = {
        "config": asdict(tried.config),
        "address": address,
        **{name: getattr(tried, name) for name in ("items", "users", "interactions")},
        **{name: getattr(tried, name) for name in ("devices", "processes")},
    }
    with tempfile.TemporaryDirectory() as folder:
        told = [Path(folder) / str(index) for index in range(tried.processes)]
        started = [_start({**about, "index": index}, path) for index, path in enumerate(told)]
        try:
            code = started[0].wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            code = 1
        finally:
            for one in started:
                one.kill()
                one.wait()
        if code:
            printed = [path.read_text(errors="replace").strip().splitlines() for path in told]
            reason = next((lines[-1] for lines in printed if lines), "-")
            raise DeviceError("plan_unmeasured", processes=tried.processes, reason=reason)
        found = json.loads(told[0].read_text().splitlines()[-1])
    return Stepped(**found)


def _start(about: Mapping[str, Any], path: Path) -> "subprocess.Popen[bytes]":
    with path.open("wb") as file:
        command = [sys.executable, "-m", "reprise.planning.worker", json.dumps(about)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def main() -> None:
    """Take the steps of one process, and print what was measured."""
    setup()
    about = json.loads(sys.argv[1])
    place = Place(about.pop("address"), about["processes"], about.pop("index"))
    config = TrainConfig(**about.pop("config"))
    found = stepped(Description(config, **about), mesh_of(about["devices"], place))
    print(json.dumps(found._asdict()), flush=True)
    os._exit(0)  # JAX would wait for the other processes


if __name__ == "__main__":
    main()
