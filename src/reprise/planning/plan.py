"""The plan of a run: its bytes, traffic and times as facts, or a refusal of what does not fit."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from reprise.errors import MemoryLimitError, UsageError
from reprise.planning import constants as constants_of
from reprise.planning import sizes, stand_in
from reprise.planning.constants import Constants
from reprise.planning.description import Description, array_shape
from reprise.planning.measuring import MOST_HERE, measured
from reprise.planning.program import Work, work_of
from reprise.planning.stand_in import Drawn
from reprise.planning.times import sent_by_process, times_of
from reprise.runtime.mesh import at_hand
from reprise.text.messages import Phrase, Say, unsaid
from reprise.training.state import Arrays

_DIMS = 16  # smaller dimensions that are tried


def plan(
    planned: Description,
    limit: int | None = None,
    constants: Path | None = None,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Return the facts of a planned run: those of `sized` and `timed`.

    constants: a file of a machine's constants, which is used where it is there; if not, those of
    this machine are measured, and written there. limit: bytes of memory that a process may use.
    """
    planned.check()
    known = constants_of.read(constants) if constants is not None and constants.exists() else None
    if known is None and planned.processes_here == 1:
        at_hand(min(planned.devices, MOST_HERE))  # before JAX starts
    step = Step.of(planned)
    facts = sized(planned, step, limit)
    if known is None:
        say("plan_measuring")
        known = measured(planned)
        if constants is not None:
            constants_of.write(constants, known)
    return facts | timed(planned, step.work, known)


class Step(NamedTuple):
    """A planned run's step: the shapes of its arrays, a batch, and what it does."""

    arrays: Arrays
    drawn: Drawn
    work: Work

    @classmethod
    def of(cls, planned: Description) -> "Step":
        """Trace the step of a planned run."""
        arrays, drawn = sizes.shapes_of(planned), stand_in.drawn_of(planned)
        return cls(arrays, drawn, work_of(planned, arrays, drawn.batch))


def sized(planned: Description, step: Step, limit: int | None = None) -> dict[str, Any]:
    """Return the facts of a planned run that no time is part of.

    items, users, interactions, model, embedding_dim, batch_size, optimizer, devices (of all
    processes), processes; bytes: device and process (items, optimizer, network, averages, features,
    total: what is held between steps), checkpoint (arrays: its array files; described: its two JSON
    files, within some digits; written_by_process: what the process writes that writes most; kept:
    the most that a run keeps at an instant); memory: process (estimated peak), limit (None: none),
    copied (whether checkpoints are written from a copy, which the limit may have no room for);
    traffic: unique_rows of a batch, summed (bytes of a step that are summed up over the
    devices), rounds (of sums that wait for each other), at_most (of a batch of distinct items),
    sent_by_process.

    Raises:
        MemoryLimitError: A process needs more than `limit` bytes; says what would fit.
    """
    arrays = step.arrays
    temporary = sizes.temporary(planned, arrays, step.drawn.batch)
    needed, copied = sizes.memory(planned, arrays, temporary), True
    if limit is not None and needed > limit:
        needed, copied = sizes.memory(planned, arrays, temporary, copies=False), False
    if limit is not None and needed > limit:
        advice = _advice(planned, temporary, limit)
        about = {"needed": _gigabytes(needed), "limit": _gigabytes(limit)}
        raise MemoryLimitError("plan_too_large", **about, advice=advice)
    config, device = planned.config, sizes.on_device(planned, arrays)
    return {
        **{name: getattr(planned, name) for name in ("items", "users", "interactions")},
        **{name: getattr(config, name) for name in ("model", "embedding_dim")},
        **{name: getattr(config, name) for name in ("batch_size", "optimizer")},
        "devices": planned.all_devices,
        "processes": planned.processes,
        "bytes": {
            "device": device,
            "process": {name: planned.devices * size for name, size in device.items()},
            "checkpoint": sizes.checkpoint(planned, arrays),
        },
        "memory": {"process": needed, "limit": limit, "copied": copied},
        "traffic": _traffic(planned, step),
    }


def timed(planned: Description, work: Work, constants: Constants) -> dict[str, Any]:
    """Return the facts of a planned run's times: seconds (step, exchange of it, evaluation,
    training), steps_per_second, users_per_second, extrapolated (see `times.Times`), constants.
    """
    times = times_of(planned, work, constants)
    seconds = asdict(times)
    extrapolated = list(seconds.pop("extrapolated"))
    return {
        "seconds": seconds,
        "steps_per_second": 1 / times.step,
        "users_per_second": planned.config.batch_size / times.step,
        "extrapolated": extrapolated,
        "constants": asdict(constants),
    }


def _traffic(planned: Description, step: Step) -> dict[str, int]:
    batch, work = step.drawn.batch, step.work
    widest = work
    if work.rounds:
        rows: Any = array_shape(step.drawn.most_rows)
        widest = work_of(planned, step.arrays, batch._replace(unique_rows=rows))
    return {
        "unique_rows": batch.unique_rows.shape[0],
        "rounds": work.rounds,
        "summed": work.exchanged,
        "at_most": widest.exchanged,
        "sent_by_process": sent_by_process(planned, work.exchanged),
    }


def _advice(planned: Description, temporary: int, limit: int) -> Phrase:
    """Return what would fit into the memory: more processes, or a smaller dimension."""

    def fits(one: Description) -> bool:
        try:
            return sizes.memory(one, sizes.shapes_of(one), temporary, copies=False) <= limit
        except UsageError:  # the model cannot have this dimension
            return False

    more = next(filter(fits, _on_more(planned)), None)
    less = next(filter(fits, _of_less(planned)), None)
    found: dict[str, Any] = {}
    if more is not None:
        found |= {"devices": more.all_devices, "processes": more.processes}
    if less is not None:
        found["dim"] = less.config.embedding_dim
    if more is None:
        return Phrase("plan_fits_none" if less is None else "plan_fits_dim", **found)
    return Phrase("plan_fits_devices" if less is None else "plan_fits_either", **found)


def _on_more(planned: Description) -> Iterator[Description]:
    """Yield the run on ever more processes that can share its batch."""
    batch = planned.config.batch_size
    for processes in range(planned.processes + 1, batch // planned.devices + 1):
        more = planned.on(planned.devices, processes)
        if batch % more.all_devices == 0:
            try:
                more.check()
            except UsageError:  # what one device alone can train
                return
            yield more


def _of_less(planned: Description) -> Iterator[Description]:
    """Yield the run with ever smaller embedding dimensions that the model can have."""
    dim = planned.config.embedding_dim
    step = max(1, dim // _DIMS)
    for smaller in range(dim - step, 0, -step):
        try:
            yield sizes.with_dimension(planned, smaller)
        except UsageError:
            continue


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
