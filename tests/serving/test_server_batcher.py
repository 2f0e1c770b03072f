"""The micro-batcher: each input gets its own answer, batches are bounded, and so is what waits."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.serving.server.batcher import Batcher
from reprise.serving.server.errors import RefusedError
from reprise.serving.server.limits import Limits
from reprise.serving.server.metrics import Metrics


def batching(use: Callable[[Batcher], Awaitable[None]], **limits: Any) -> Metrics:
    """Have a batcher used, in an event loop of its own."""
    metrics = Metrics()

    async def run() -> None:
        batcher = Batcher(Limits(**{"batch_window": 0.0, "max_histories": 1, **limits}), metrics)
        batcher.start()
        try:
            await use(batcher)
        finally:
            await batcher.stop()

    asyncio.run(run())
    return metrics


class Doubling:
    """Work that keeps the batches it was given, and waits, where it is told to, until released."""

    def __init__(self, factor: int = 2, waits: bool = False) -> None:
        self.factor = factor
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.released = threading.Event()
        if not waits:
            self.released.set()

    def work(self, inputs: list[int]) -> list[int]:
        self.batches.append(list(inputs))
        self.begun.set()
        assert self.released.wait(30)
        return [self.factor * one for one in inputs]


@examples(30)
@given(
    requests=st.lists(
        st.tuples(st.integers(0, 1), st.lists(st.integers(), min_size=1, max_size=4)), max_size=12
    ),
    size=st.integers(1, 5),
)
def test_batcher_answers_each_input_in_batches_of_one_work(
    requests: list[tuple[int, list[int]]], size: int
) -> None:
    kinds = (Doubling(2), Doubling(3))

    async def use(batcher: Batcher) -> None:
        asked = [batcher.ask(kinds[kind].work, inputs) for kind, inputs in requests]
        answers = await asyncio.gather(*asked)
        assert answers == [[kinds[kind].factor * one for one in own] for kind, own in requests]

    batching(use, batch_size=size, queue=100)
    for number, kind in enumerate(kinds):
        assert all(len(batch) <= size for batch in kind.batches)
        computed = sorted(one for batch in kind.batches for one in batch)
        assert computed == sorted(one for own, asked in requests for one in asked if own == number)


def test_batcher_computes_what_waits_together() -> None:
    kind = Doubling(waits=True)

    async def use(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.ask(kind.work, [0]))
        await asyncio.to_thread(kind.begun.wait)
        others = [asyncio.create_task(batcher.ask(kind.work, [one])) for one in range(1, 8)]
        await asyncio.sleep(0)  # they are in the queue
        kind.released.set()
        assert await asyncio.gather(first, *others) == [[2 * one] for one in range(8)]

    metrics = batching(use, batch_size=5, queue=100)
    assert kind.batches == [[0], [1, 2, 3, 4, 5], [6, 7]]
    assert metrics.registry.get_sample_value("reprise_batch_size_sum") == 8


def test_batcher_waits_for_as_many_as_it_answered_and_no_others() -> None:
    kind = Doubling()

    async def use(batcher: Batcher) -> None:
        assert await batcher.ask(kind.work, [0]) == [0]  # nobody else is expected
        assert await batcher.ask(kind.work, [1, 2, 3]) == [2, 4, 6]
        first = asyncio.create_task(batcher.ask(kind.work, [4]))
        await asyncio.sleep(0.01)
        assert await batcher.ask(kind.work, [5, 6]) == [10, 12]  # long before the window ends
        assert await first == [8]

    batching(use, batch_window=60)
    assert kind.batches == [[0], [1, 2, 3], [4, 5, 6]]


def test_batcher_waits_no_longer_than_until_a_batch_is_full() -> None:
    kind = Doubling()

    async def use(batcher: Batcher) -> None:
        assert await batcher.ask(kind.work, [1, 2, 3, 4]) == [2, 4, 6, 8]
        assert await batcher.ask(kind.work, [5, 6]) == [10, 12]

    batching(use, batch_window=60, batch_size=2)
    assert kind.batches == [[1, 2], [3, 4], [5, 6]]


def test_batcher_waits_for_those_whom_a_long_batch_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else clients stay divided: each half asks again while the other's batch is computed."""
    monkeypatch.setattr("reprise.serving.server.batcher._AGAIN", 1.0)  # on busy machines, too
    kind = Doubling()

    def work(inputs: list[int]) -> list[int]:
        time.sleep(0.3)
        return kind.work(inputs)

    async def use(batcher: Batcher) -> None:
        async def client() -> None:
            for one in range(2):
                assert await batcher.ask(work, [one]) == [2 * one]
                await asyncio.sleep(0.01)

        early = [asyncio.create_task(client()) for _ in range(3)]
        await asyncio.sleep(0.1)
        await asyncio.gather(*early, *(client() for _ in range(3)))

    batching(use, batch_window=0.004, batch_size=64)
    assert [len(batch) for batch in kind.batches] == [3, 6, 3]


def test_batcher_refuses_what_its_queue_has_no_room_for() -> None:
    kind = Doubling(waits=True)

    async def use(batcher: Batcher) -> None:
        tasks = [asyncio.create_task(batcher.ask(kind.work, [0]))]
        await asyncio.to_thread(kind.begun.wait)
        tasks += [asyncio.create_task(batcher.ask(kind.work, [one, one])) for one in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(RefusedError) as refused:
            await batcher.ask(kind.work, [3])
        assert (refused.value.status, refused.value.key) == (429, "serve_queue_full")
        assert int(refused.value.headers["Retry-After"]) >= 1
        tasks[1].cancel()  # its client has gone: there is room again
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(batcher.ask(kind.work, [4])))
        await asyncio.sleep(0)
        kind.released.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers.pop(1), asyncio.CancelledError)
        assert answers == [[0], [4, 4], [8]]

    metrics = batching(use, queue=4)
    assert kind.batches == [[0], [2, 2, 4]]  # what was cancelled was not computed
    assert metrics.registry.get_sample_value("reprise_queue_refused_total") == 1


def test_batcher_answers_those_beside_one_that_fails() -> None:
    def work(inputs: list[int]) -> list[float]:
        return [1 / one for one in inputs]

    async def use(batcher: Batcher) -> None:
        asked = [batcher.ask(work, [one]) for one in (1, 0, 2)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [answers[0], answers[2]] == [[1.0], [0.5]]
        assert isinstance(answers[1], ZeroDivisionError)
        assert await batcher.ask(work, [4]) == [0.25]

    batching(use)


def test_batcher_goes_on_after_work_that_answers_too_little() -> None:
    async def use(batcher: Batcher) -> None:
        with pytest.raises(AssertionError, match="0 answers to 1 inputs"):
            await batcher.ask(lambda inputs: [], [1])
        assert await batcher.ask(lambda inputs: inputs, [1]) == [1]

    batching(use)
