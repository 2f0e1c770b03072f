"""Batches of several processes: those of one process, each part read from its own users alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.data import npy
from reprise.data.sequences import Sequences
from reprise.runtime.memory import forget
from reprise.training.batches import Sampler, make_sampler
from reprise.training.by_process import Part, divided
from reprise.training.targets import TargetRule

LENGTH, ITEMS = 6, 40
SECOND = 10**9


@st.composite
def splits(draw: st.DrawFn) -> Sequences:
    """Sequences, some too short to train on, with or without times and targets."""
    lengths = draw(st.lists(st.integers(0, 15), min_size=2, max_size=20))
    lengths += [15] * 3  # enough users for a batch
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    count = int(offsets[-1])
    targets = rng.random(count) < 0.5 if draw(st.booleans()) else None
    if targets is not None:
        targets[offsets[1:][-3:] - 1] = True  # users who can be trained on
    times = SECOND * np.sort(rng.integers(0, 10**6, count)) if draw(st.booleans()) else None
    return Sequences(offsets, rng.integers(1, ITEMS + 1, count).astype(np.int32), targets, times)


def own_users_alone(split: Sequences, first: int, end: int) -> Sequences:
    """The sequences, with nonsense in the place of all items and times of other users."""
    own = slice(split.offsets[first], split.offsets[end])
    items = np.full_like(split.items, 10**6)
    items[own] = split.items[own]
    if split.times is None:
        return dataclasses.replace(split, items=items)
    times = np.full_like(split.times, -(10**15))
    times[own] = split.times[own]
    return dataclasses.replace(split, items=items, times=times)


@examples(100)
@given(splits(), st.integers(1, 5), st.sampled_from([1, 3]), st.sampled_from(["mixed", "uniform"]))
def test_sum_of_what_processes_read_is_the_batch_of_one(
    split: Sequences, processes: int, targets: int, kind: str
) -> None:
    rule = TargetRule(first=2, count=targets, next_n=2)

    def sampler_on(sequences: Sequences) -> Sampler:
        timed = sequences.times is not None
        whole = make_sampler(split, ITEMS, 3, LENGTH, 5, 1, kind, rule, timed=timed)
        return dataclasses.replace(whole, split=sequences)

    bounds = divided(split.offsets, processes)
    assert (bounds[0], bounds[-1]) == (0, len(split.lengths))
    parts = [
        Part(sampler_on(own_users_alone(split, first, end)), first, end)
        for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    for step in (1, 2, 3):
        read = [part.own(0, step) for part in parts]
        together = sum(rows for _, rows in read)
        expected = sampler_on(split).batch(0, step)
        for part, (draw, _) in zip(parts, read, strict=True):
            batch = part.batch(0, step, draw, together)
            for one, other in zip(batch, expected, strict=True):
                assert (one is None) == (other is None)
                if one is not None and other is not None:
                    assert one.dtype == other.dtype
                    assert one.tobytes() == other.tobytes()


@examples(100)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 6))
def test_users_are_divided_by_their_interactions(lengths: list[int], processes: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    bounds = divided(offsets, processes)
    assert (np.diff(bounds) >= 0).all()
    shares = np.diff(offsets[bounds])
    assert shares.sum() == sum(lengths)
    assert shares.max() <= sum(lengths) / processes + max(lengths) + 1


def resident(path: Path) -> int:
    """Return how many bytes of a file's mappings are in this process's memory."""
    found, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            here = line.endswith(str(path))
        elif here and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="memory is read from /proc")
def test_process_has_its_own_users_items_in_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy, "MAPPED_FROM", 1)
    users, each, path = 8_000, 1_000, tmp_path / "items.npy"
    npy.save_array(path, np.arange(users * each, dtype=np.int32) % ITEMS + 1)
    items = npy.open_array(path)
    assert items.max() == ITEMS
    size = items.nbytes
    assert resident(path) >= size
    forget(items)
    assert resident(path) == 0

    split = Sequences(np.arange(users + 1, dtype=np.int64) * each, items)
    sampler = make_sampler(split, ITEMS, 4_000, LENGTH, 5, 1)
    part = Part(sampler, *divided(split.offsets, 4)[1:3].tolist())
    for step in range(1, 9):
        part.own(0, step)
    # The system reads some pages ahead, which may be a neighbour's.
    assert 0.1 * size < resident(path) < 0.35 * size
    forget(np.arange(3))  # has nothing that could be given back
    forget(None)
