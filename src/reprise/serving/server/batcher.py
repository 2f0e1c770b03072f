"""The micro-batcher: inputs that wait are computed together, and only so many may wait.

All that takes a server time goes through its one queue, so that the load is bounded in one place.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from reprise.serving.server.errors import RefusedError
from reprise.serving.server.limits import Limits
from reprise.serving.server.metrics import Metrics

_LOG = logging.getLogger(__name__)

_PAUSES = 4  # a pause of one part of the window means that no further input comes
_AGAIN = 0.1  # of the last batch's time, in which those that it answered may ask again

# Answers inputs, in their order: what an input gets does not depend on the others.
Work = Callable[[list[Any]], Sequence[Any]]


@dataclass(eq=False)
class _Job:
    """An input that waits for its answer."""

    work: Work
    input: Any
    answer: "asyncio.Future[Any]"
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Computes answers on one thread, up to `batch_size` inputs of the same work together.

    Before a batch that is not full, more inputs are waited for: those whose answers have just been
    sent ask again together. As many as that are expected, and none beyond them; they are waited for
    `batch_window` seconds at most, and no longer than they come; but where a batch takes long, a
    tenth of its time, without which clients would be divided into halves that wait for each other.
    Inputs whose request has ended meanwhile are not computed.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, "batch")
        self._seconds = 0.0  # of the last batch
        self._expected = 0  # inputs, if all that it answered ask again
        self._began: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compute, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop. What waits is not answered: stop accepting and wait for the answers first."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._pool.shutdown(wait=True)

    @property
    def busy_seconds(self) -> float:
        """How long the batch that is computed has taken so far; 0 where none is."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    async def ask(self, work: Work, inputs: Sequence[Any]) -> list[Any]:
        """Return the answers to inputs; raise RefusedError where the queue has too little room."""
        waiting = self._waiting()
        if waiting + len(inputs) > self._limits.queue:
            self._metrics.refused.inc()
            raise self._refusal(waiting)
        loop = asyncio.get_running_loop()
        jobs = [_Job(work, one, loop.create_future()) for one in inputs]
        self._jobs.extend(jobs)
        self._note_length()
        self._arrived.set()
        if len(self._jobs) >= self._enough:
            self._full.set()
        try:
            return [await job.answer for job in jobs]
        finally:  # a request that ends early (time limit, client gone) leaves the queue
            for job in jobs:
                job.answer.cancel()

    def _waiting(self) -> int:
        """Return how many inputs wait, after those are dropped whose request has ended, if there
        seem to be too many.
        """
        if len(self._jobs) + self._limits.max_histories > self._limits.queue:
            self._jobs = deque(job for job in self._jobs if not job.answer.done())
        return len(self._jobs)

    def _refusal(self, waiting: int) -> RefusedError:
        batches = math.ceil(waiting / self._limits.batch_size)
        seconds = max(1, math.ceil(batches * self._seconds))
        return RefusedError(
            429,
            "serve_queue_full",
            {"Retry-After": str(seconds)},
            most=self._limits.queue,
            seconds=seconds,
        )

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._gather()
            jobs = self._take()
            if not jobs:
                continue
            self._began = time.monotonic()
            try:
                answers = await loop.run_in_executor(self._pool, _answer_all, jobs)
            except Exception as error:  # whatever fails, the next batch is computed
                answers = [error] * len(jobs)
            self._seconds, self._began = time.monotonic() - self._began, None
            self._expected = len(self._jobs) + len(jobs)
            self._metrics.batches(len(jobs), self._seconds)
            for job, answer in zip(jobs, answers, strict=True):
                _settle(job, answer)

    @property
    def _enough(self) -> int:
        """How many inputs are not kept waiting for others."""
        return min(self._limits.batch_size, self._expected)

    async def _gather(self) -> None:
        """Wait until enough inputs are here, no further one comes, or the window is over."""
        window, start = self._limits.batch_window, time.monotonic()
        over = start + window
        again = start + _AGAIN * self._seconds if window else start
        while 0 < len(self._jobs) < self._enough:
            here = len(self._jobs)
            self._full.clear()
            try:
                async with asyncio.timeout(window / _PAUSES):
                    await self._full.wait()
            except TimeoutError:
                now = time.monotonic()
                may_come = len(self._jobs) < self._expected and now < again
                if not may_come and (len(self._jobs) == here or now >= over):
                    return

    def _take(self) -> list[_Job]:
        """Take the first input that waits, and those after it of the same work."""
        waiting = deque(job for job in self._jobs if not job.answer.done())
        taken: list[_Job] = []
        left: deque[_Job] = deque()
        for job in waiting:
            fits = len(taken) < self._limits.batch_size
            mine = fits and (not taken or job.work == taken[0].work)
            (taken if mine else left).append(job)
        self._jobs = left
        self._note_length()
        if not left:
            self._arrived.clear()
        return taken

    def _note_length(self) -> None:
        self._metrics.queue.set(len(self._jobs))


def _answer_all(jobs: list[_Job]) -> Sequence[Any]:
    """Return the answer to each job, or the exception that it raised. Where several fail together,
    each is tried by itself: one that cannot be computed spoils no other.
    """
    work = jobs[0].work
    try:
        answers = work([job.input for job in jobs])
        if len(answers) != len(jobs):
            raise AssertionError(f"{len(answers)} answers to {len(jobs)} inputs")
        return answers
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        _LOG.warning("Batch of %d failed: %s", len(jobs), error)
        return [_answer_all([job])[0] for job in jobs]


def _settle(job: _Job, answer: Any) -> None:
    if job.answer.done():
        return
    if isinstance(answer, Exception):
        job.answer.set_exception(answer)
    else:
        job.answer.set_result(answer)
