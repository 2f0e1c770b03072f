"""The time split: interactions before a time are history, those from it on are targets."""

import json
import random
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import Event, Users, item_lists, users_of, write_comirec, write_inter
from helpers.effort import examples
from reprise.cli.main import cli
from reprise.data.clock import clock_unit
from reprise.data.dataset import LATER, SPLITS, open_dataset
from reprise.data.prepare import prepare, read_source
from reprise.data.rows import Times
from reprise.data.splits import cut_times
from reprise.data.statistics import describe, totals
from reprise.errors import DataError, UsageError

TIME = "time-split"
CUT = (12.0, 16.0)


def random_events(seed: int, count: int = 400) -> list[Event]:
    """Users who come and go, items that come late, many ties in time."""
    rng = random.Random(seed)
    events = []
    for _ in range(count):
        user, item = rng.randint(1, 30), rng.choices(range(20), [1 / n for n in range(1, 21)])[0]
        late = item >= 15 or user % 5 == 0
        events.append((f"u{user}", f"i{item}", float(rng.randint(13 if late else 0, 20))))
    return events


def split_slowly(
    events: list[Event], cut: tuple[float, float]
) -> tuple[list[str], dict[str, Users], dict[str, list[int]]]:
    """Raw ids of items 1..V; each split's users; how many of each user's items are given."""
    often = Counter(item for _, item, _ in events)
    rows = [event for event in events if often[event[1]] >= 5]
    active = Counter(user for user, _, _ in rows)
    rows = [event for event in rows if active[event[0]] >= 5]
    trained = Counter(item for _, item, time in rows if time < cut[0])
    first = {item: n for n, item in reversed(list(enumerate(item for _, item, _ in events)))}
    raw_items = sorted(trained, key=lambda item: (-trained[item], first[item]))
    number = {item: n for n, item in enumerate(raw_items, start=1)}
    users: dict[str, Users] = {split: [] for split in SPLITS}
    known: dict[str, list[int]] = {split: [] for split in SPLITS}
    for user in dict.fromkeys(user for user, _, _ in events if active[user] >= 5):
        own = sorted(
            (time, n)
            for n, (name, item, time) in enumerate(events)
            if name == user and item in number
        )
        times = [time for time, _ in own]
        items = [number[events[n][1]] for _, n in own]
        a, b = (sum(time < one for time in times) for one in cut)
        for split, given_items, end in (("train", 0, a), ("valid", a, b), ("test", b, len(own))):
            if end > given_items and (given_items or split == "train"):
                users[split].append((user, items[:end]))
                known[split].append(given_items)
    return raw_items, users, known


@pytest.mark.parametrize("seed", range(8))
def test_time_split_equals_the_loops(tmp_path: Path, seed: int) -> None:
    events = random_events(seed)
    path = write_inter(tmp_path / "x.inter", events)
    folder = prepare(path, "x", tmp_path, TIME, cut=[f"{time:g}" for time in CUT])
    dataset = open_dataset(folder)
    raw_items, users, known = split_slowly(events, CUT)
    draft = read_source(path, TIME, cut=["12", "16"])
    assert draft.raw_items.to_list() == raw_items
    for split in SPLITS:
        assert users_of(draft, split) == users[split]
    assert dataset.evaluation == LATER
    for split in ("valid", "test"):
        found = dataset.evaluation_users(split, 5)
        lists = [items for _, items in users[split]]
        assert item_lists(found.past.of(0, len(lists))) == [
            items[:given_items] for items, given_items in zip(lists, known[split], strict=True)
        ]
        targets = [items[n:] for items, n in zip(lists, known[split], strict=True)]
        assert found.target_items.tolist() == [item for own in targets for item in own]
        assert found.target_offsets.tolist() == np.cumsum([0, *map(len, targets)]).tolist()
    # Each user and interaction is counted once, in the totals, the record and the statistics.
    longest: dict[str, int] = {}
    for split in SPLITS:
        longest |= {user: len(items) for user, items in users[split]}
    assert totals(dataset) == (len(longest), sum(longest.values()))
    kept = dataset.meta["source"]["kept"]
    assert (kept["users"], kept["interactions"]) == totals(dataset)
    facts = describe(dataset)
    assert facts["interactions"]["all"] == totals(dataset)[1]
    assert facts["history_length"]["mean"] == pytest.approx(totals(dataset)[1] / len(longest))


def test_time_split_leaves_out_items_that_first_appear_later(tmp_path: Path) -> None:
    """Nobody can learn to find them, and the ids say nothing of the time to come."""
    events = [(f"u{user}", f"i{place}", float(place)) for user in range(20) for place in range(10)]
    again = [(f"u{user}", "i5", time) for user in range(20) for time in (6.5, 9.0)]
    draft = read_source(write_inter(tmp_path / "x.inter", events + again), TIME, cut=["6", "8"])
    assert draft.raw_items.to_list() == [f"i{n}" for n in range(6)]  # i5 is no more popular, yet
    for split, hidden in (("train", []), ("valid", [6]), ("test", [6, 6])):
        assert item_lists(draft.splits[split]) == [[1, 2, 3, 4, 5, 6, *hidden]] * 20
    with pytest.raises(DataError, match="empty"):
        read_source(tmp_path / "x.inter", TIME, cut=["90", "91"])
    with pytest.raises(DataError, match="empty"):
        read_source(tmp_path / "x.inter", TIME, cut=["0", "1"])


@examples(60)
@given(st.lists(st.integers(0, 50), min_size=5, max_size=60), st.floats(0.05, 0.6), st.data())
def test_cut_times_converts_a_share_to_a_time(
    times: list[int], first: float, data: st.DataObject
) -> None:
    second = data.draw(st.floats(first + 0.05, 0.99))
    array = Times(lambda: np.array_split(np.array(times), 3))
    wanted = [sorted(times)[int(share * len(times))] for share in (first, second)]
    if wanted[0] < wanted[1]:
        assert list(cut_times([str(first), str(second)], array)) == wanted
    else:  # all at one time: there is nothing to cut
        with pytest.raises(UsageError, match=f"both cuts fall on the time {wanted[0]}"):
            cut_times([str(first), str(second)], array)


def test_cut_times_converts_a_date_to_the_unit_of_the_source() -> None:
    day = 86_400
    for unit in (1, 10**3, 10**6, 10**9):
        times = np.array([1_511_539_200, 1_512_316_799]) * unit
        assert clock_unit(float(times[0])) == unit
        first, second = cut_times(
            ["2017-12-01", "2017-12-02T00:00:00+00:00"], Times(partial(list, [times]))
        )
        assert second - first == day * unit
        assert first == 1_512_086_400 * unit


@pytest.mark.parametrize(
    "cut", ["0.9,0.8", "5", "a,b", "1,2,3", "nan,2", "2017-12-02,2017-12-01", ""]
)
def test_prepare_refuses_an_invalid_cut(tmp_path: Path, cut: str) -> None:
    path = write_inter(tmp_path / "x.inter", random_events(0))
    with pytest.raises(UsageError, match=r"cut = .* is invalid"):
        prepare(path, "x", tmp_path, TIME, cut=cut.split(","))
    assert not (tmp_path / "x").exists()


def test_time_split_refuses_sources_without_times(tmp_path: Path) -> None:
    lines = tmp_path / "x.txt"
    lines.write_text("1 2 3 4\n2 3 4 5\n")
    for source in (write_comirec(tmp_path / "source"), lines):
        with pytest.raises(UsageError, match="cannot be split by time"):
            read_source(source, TIME)
    with pytest.raises(UsageError, match="no --cut without --protocol time-split"):
        read_source(write_inter(tmp_path / "x.inter", random_events(0)), cut=["1", "2"])


def test_prepare_prints_and_stores_the_cut(tmp_path: Path) -> None:
    start = 1_511_568_000  # 2017-11-25
    events = [(user, item, start + 86_400 * time / 2) for user, item, time in random_events(1)]
    path = write_inter(tmp_path / "x.inter", events)
    folders = ["--data-dir", str(tmp_path / "data")]
    asked = ["--protocol", TIME, "--cut", "2017-12-01,2017-12-03"]
    done = CliRunner().invoke(cli, ["prepare", str(path), "--name", "x", *folders, *asked])
    assert done.exit_code == 0, done.output
    meta = json.loads((tmp_path / "data" / "x" / "meta.json").read_text())
    assert meta["evaluation"] == LATER
    assert meta["source"]["cut"] == [start + 86_400 * 6, start + 86_400 * 8]
    assert meta["source"]["protocol"] == "items >= 5, users >= 5, time-split"
    shown = CliRunner().invoke(cli, ["data", "show", "x", *folders, "--lang", "en"])
    assert "Validation begins at 2017-12-01, test at 2017-12-03" in shown.output
    assert "(time split)" in shown.output


@examples(10)
@given(data=st.data())
def test_open_dataset_detects_damage_to_known_counts(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        path = write_inter(Path(name) / "x.inter", random_events(2))
        folder = prepare(path, "x", Path(name), TIME)
        known = np.load(folder / "test" / "known.npy")
        row = data.draw(st.integers(0, len(known) - 1))
        known[row] += data.draw(st.sampled_from([-1, 1, 1000, -1000]))
        np.save(folder / "test" / "known.npy", known)
        with pytest.raises(DataError) as caught:
            open_dataset(folder)
        assert caught.value.key == "dataset_damaged"
