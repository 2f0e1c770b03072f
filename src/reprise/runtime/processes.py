"""The processes that train one run together, on one host or several, by JAX's distributed runtime.

Process 0 leads: it alone writes the run's folder and prints, and decides what all others need to
know. All take the same steps in the same order.
"""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reprise.errors import PeersLostError, UsageError
from reprise.text.messages import Phrase

TOGETHER = "reprise:together"  # what a worker prints for its parent
AUTO = "auto"  # the coordinator that JAX detects, with Slurm, Open MPI or Kubernetes
# Seconds. A process is given up where it has not been heard of for _SILENT.
_SILENT, _TO_START = 30, 300
_FOREVER = 10**9  # milliseconds: a leader that is gone ends the wait
# As gloo, NCCL and JAX's distributed runtime, in calls that wait for others, word it.
_LOST = (
    *("Gloo", "NCCL", "coordination service", "CoordinationService", "coordination_service"),
    *("distributed service", "Socket closed", "UNAVAILABLE", "Connection reset"),
)


@dataclass(frozen=True)
class Place:
    """A process among those of a run: the address HOST:PORT of process 0, how many there are, and
    which of them this is. With the address AUTO, JAX detects all three.
    """

    coordinator: str
    count: int | None
    index: int | None


@dataclass(eq=False)
class Processes:
    """The processes of a run, of which this one is `index`; by default there is one."""

    index: int = 0
    count: int = 1
    _client: Any = None
    _told: int = field(default=0, init=False)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.index == 0

    @cached_property
    def on_this_host(self) -> int:
        """How many of them are on this host, and share its memory. All have to ask for it."""
        if self.count == 1:
            return 1
        host = platform.node()
        self.tell(f"host/{self.index}", host)
        return [self.hear(f"host/{index}") for index in range(self.count)].count(host)

    def led(self, decide: Callable[[], Any]) -> Any:
        """Return what decide() returns in the leading process, a value that JSON holds. All wait
        for it; all have to call this in the same order.
        """
        if self.count == 1:
            return decide()
        self._told += 1
        key = f"led/{self._told}"
        if self.leads:
            self.tell(key, decide())
        return self.hear(key)

    def tell(self, key: str, value: Any) -> None:
        """Tell all processes a value that JSON holds; a key is used once."""
        self._client.key_value_set(key, json.dumps(value))

    def hear(self, key: str) -> Any:
        """Wait for what a process tells."""
        return json.loads(self._client.blocking_key_value_get(key, _FOREVER))


ALONE = Processes()


def place_of(coordinator: str | None, count: int | None, index: int | None) -> Place | None:
    """Return the place that options ask for; None: there is one process."""
    given = {"num_processes": count, "process_id": index}
    if coordinator is None:
        for option, value in given.items():
            if value is not None:
                raise UsageError("needs_coordinator", option=f"--{option.replace('_', '-')}")
        return None
    if coordinator == AUTO:
        return Place(AUTO, count, index)
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        expected = Phrase("good_address")
        raise UsageError("bad_value", option="coordinator", value=coordinator, expected=expected)
    for option, value in given.items():
        if value is None:
            raise UsageError("missing_value", option=option.replace("_", "-"))
    assert count is not None
    assert index is not None
    if count < 1:
        expected = Phrase("good_whole", low=1)
        raise UsageError("bad_value", option="num_processes", value=count, expected=expected)
    if not 0 <= index < count:
        expected = Phrase("good_whole_within", low=0, high=count - 1)
        raise UsageError("bad_value", option="process_id", value=index, expected=expected)
    return Place(coordinator, count, index)


def connect(place: Place | None) -> Processes:
    """Find the other processes, before JAX starts; raise PeersLostError where they do not come."""
    if place is None:
        return ALONE
    import jax
    from jax._src import distributed

    update: Any = jax.config.update
    update("jax_cpu_collectives_implementation", "gloo")
    update("jax_enable_preemption_service", False)  # signals are heard by `runs.signals`
    own: dict[str, Any] = {}
    if place.coordinator != AUTO:
        own = {"coordinator_address": place.coordinator, "cluster_detection_method": "deactivate"}
        if place.coordinator.startswith(("127.", "localhost:")):  # else JAX listens to all hosts
            own["coordinator_bind_address"] = place.coordinator
    try:
        jax.distributed.initialize(
            num_processes=place.count,
            process_id=place.index,
            heartbeat_timeout_seconds=_SILENT,
            initialization_timeout=int(os.environ.get("REPRISE_START_SECONDS", _TO_START)),
            shutdown_timeout_seconds=_SILENT,
            **own,
        )
    except ValueError as error:  # nothing was detected
        raise UsageError("no_cluster", reason=error) from error
    except RuntimeError:
        raise PeersLostError("peers_missing", coordinator=place.coordinator) from None
    os.write(2, f"{TOGETHER}\n".encode())  # a worker's, see `cli.worker`
    state = distributed.global_state
    return Processes(state.process_id, state.num_processes, state.client)


def is_of_peers(error: object) -> bool:
    """Whether JAX's error, or what it printed, is that another process cannot be reached."""
    return any(word in str(error) for word in _LOST)
