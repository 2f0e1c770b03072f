"""Expected times, by constants that were measured on a machine.

A step takes as long as the one that was measured, times how much more its floor is: matrix products
and memory traffic at the machine's rates, of all devices that share it. Hosts add what they
exchange: each sum takes a message forth and back in log2 of the hosts, and its bytes by a ring.
"""

import math
from dataclasses import dataclass

from reprise.planning.constants import Constants
from reprise.planning.description import Description
from reprise.planning.measuring import MOST_HERE, floor, named
from reprise.planning.program import Work
from reprise.retrieval.vectors import CHUNK


@dataclass(frozen=True)
class Times:
    """Expected seconds.

    Attributes:
        step: Of a step; `exchange` of them for what devices exchange.
        evaluation: Of an evaluation during training.
        training: Of all steps and their evaluations, if patience lasts.
        extrapolated: What lies beyond what was measured: "devices", "processes", "interconnect",
            "constants", "features".
    """

    step: float
    exchange: float
    evaluation: float
    training: float
    extrapolated: tuple[str, ...]


def times_of(planned: Description, work: Work, constants: Constants) -> Times:
    """Return the expected times of a planned run, whose steps have this work."""
    config, here = planned.config, _on_machine(planned)
    sharing = here if constants.shared else 1
    own = sharing * floor(work, constants.flops, constants.memory_rate)
    step = constants.step_seconds * own / constants.floor_seconds
    exchange = _exchange(planned, work.rounds, work.exchanged, constants)
    if planned.interconnect is not None:
        step += exchange
    evaluation = _evaluation(planned, constants)
    evaluations = config.max_steps // config.test_iter
    training = config.max_steps * step + evaluations * evaluation
    beyond = tuple(_beyond(planned, constants))
    return Times(step, min(exchange, step), evaluation, training, beyond)


def sent_by_process(planned: Description, exchanged: int) -> int:
    """Return the bytes that a process sends to others, of what is summed up over all."""
    ends = planned.processes
    return 2 * (ends - 1) * exchanged // ends


def _on_machine(planned: Description) -> int:
    """Return the devices on one machine."""
    return planned.devices * planned.processes_here


def _exchange(planned: Description, rounds: int, summed: int, constants: Constants) -> float:
    """Return the seconds of sums over the devices: over an interconnect, or as measured here."""
    over = planned.interconnect
    if over is None:
        if not constants.exchange_rate or planned.all_devices == 1:
            return 0.0
        every = planned.all_devices
        sent = 2 * (every - 1) / every * summed
        return rounds * constants.exchange_seconds + sent / constants.exchange_rate
    messages = 2 * math.ceil(math.log2(planned.processes)) * rounds
    return messages * over.latency + sent_by_process(planned, summed) / over.rate


def _evaluation(planned: Description, constants: Constants) -> float:
    """Return the seconds of an evaluation: all processes compute all users' interests, and each
    searches its own items.
    """
    config, users = planned.config, planned.evaluated_users
    if users == 0:
        return 0.0
    items = planned.items if planned.interconnect is None else planned.items / planned.processes
    computed = users * planned.processes_here * constants.user_seconds
    searched = users * items * constants.score_seconds + items * constants.row_seconds
    if planned.mesh is None:
        return computed + searched
    looked_up = users * config.maxlen * 4 * config.scoring.width(config.embedding_dim)
    chunks = -(-users // CHUNK)
    return computed + searched + _exchange(planned, chunks, looked_up, constants)


def _beyond(planned: Description, constants: Constants) -> "list[str]":
    """Return what lies beyond what was measured."""
    found = {
        "devices": planned.devices > constants.devices,
        "processes": planned.processes_here > constants.processes or planned.processes > MOST_HERE,
        "interconnect": planned.interconnect is not None,
        "constants": constants.of != named(planned),
        "features": planned.features is not None,
    }
    return [name for name, is_so in found.items() if is_so]
