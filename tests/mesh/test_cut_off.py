"""Two hosts, each a network of its own (Linux's network namespaces), and the cable is pulled."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.commands import RUN
from helpers.processes import Pair, wait_until
from reprise.checkpoints import store
from reprise.errors import PeersLostError
from reprise.runs.folder import RunFolder

pytestmark = [pytest.mark.mesh, pytest.mark.long]

_PORT = 7733
_MOST = 60  # seconds until all have ended
_NAMES = [f"reprise-{os.getpid()}-{index}" for index in range(2)]
_ADDRESSES = ["10.213.77.1", "10.213.77.2"]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def is_permitted() -> bool:
    """Whether network namespaces can be made here."""
    if shutil.which("ip") is None:
        return False
    try:
        ip("netns", "add", _NAMES[0])
        ip("netns", "delete", _NAMES[0])
    except subprocess.CalledProcessError:
        return False
    return True


@contextmanager
def two_hosts(folder: Path) -> Iterator[list[list[str]]]:
    """Make two networks that one cable joins, and yield the words that start a command in each.
    There this host's name stands for the network's own address, as on hosts that know each other.
    """
    try:
        for name in _NAMES:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        cable = ("link", "add", "end", "netns", _NAMES[0], "type", "veth")
        ip(*cable, "peer", "name", "end", "netns", _NAMES[1])
        within = []
        for name, address in zip(_NAMES, _ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "end")
            ip("-n", name, "link", "set", "end", "up")
            hosts = folder / f"hosts-{name}"
            hosts.write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
            ours = 'mount --bind "$0" /etc/hosts && exec "$@"'
            within.append(["ip", "netns", "exec", name, "sh", "-c", ours, str(hosts)])
        yield within
    finally:
        for name in _NAMES:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.skipif(not is_permitted(), reason="no network namespaces here: needs root and `ip`")
def test_host_that_is_cut_off_ends_the_run_everywhere(small_data: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / RUN)
    options = ("--steps", 100_000, "--test-iter", 40)
    with two_hosts(tmp_path) as within:
        address = f"{_ADDRESSES[0]}:{_PORT}"
        pair = Pair(small_data, tmp_path / "runs", *options, address=address, within=within)
        wait_until(lambda: bool(store.scan(folder.checkpoints)))
        ip("-n", _NAMES[1], "link", "set", "end", "down")
        began = time.monotonic()
        ended = pair.ended()
    assert time.monotonic() - began < _MOST
    for code, _, told in ended:
        assert code == PeersLostError.exit_code
        assert len(told.splitlines()) <= 1
    assert store.scan(folder.checkpoints)
