"""`--target-events`: which interactions are targets or history, and which users are left out."""

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from data.test_data_taken import made_of
from helpers.builders_data import item_lists
from helpers.commands import QUICK, RUN, reprise
from reprise.data.dataset import SPLITS, Dataset, open_dataset
from reprise.data.prepare import prepare
from reprise.data.readers.recognise import asked_of
from reprise.data.splits import shuffled
from reprise.data.statistics import describe, totals
from reprise.errors import DataError
from reprise.serving.histories import users_of_split

HEADER = ["user_id", "item_id", "timestamp", "event_type"]
PROTOCOLS = ("comirec", "leave-one-out", "time-split")
CUT = ("60", "85")


class Event(NamedTuple):
    user: str
    item: str
    time: int
    kind: str


def random_events(seed: int, count: int = 600) -> list[Event]:
    """Users of whom some never buy, ties in time, rows in no order of time."""
    rng = random.Random(seed)
    events = []
    for _ in range(count):
        user = rng.randint(0, 39)
        kind = "view" if user % 7 == 0 else rng.choice(["view", "view", "view", "cart", "buy"])
        events.append(Event(f"u{user}", f"i{rng.randint(0, 19)}", rng.randint(0, 99), kind))
    return events


def write(path: Path, events: list[Event]) -> Path:
    pl.DataFrame(events, HEADER, orient="row").write_csv(path)
    return path


def data_of(path: Path, protocol: str, wanted: str | None = "buy", **asked: Any) -> Dataset:
    own = asked_of(target_events=wanted, **asked)
    cut = CUT if protocol == "time-split" else None
    folder = path.parent / "data"
    made = prepare(path, path.stem, folder, protocol, 1, own, cut, overwrite=True)
    return open_dataset(made)


def users_slowly(events: list[Event]) -> dict[str, list[Event]]:
    """Each user's events by time, ties as they stand; users by first appearance."""
    users: dict[str, list[Event]] = {}
    for event in events:
        users.setdefault(event.user, []).append(event)
    return {user: sorted(own, key=lambda event: event.time) for user, own in users.items()}


def evaluated_slowly(
    users: dict[str, list[Event]], protocol: str, split: str
) -> dict[str, tuple[list[str], list[str]]]:
    """Of each user who is evaluated, the items of the history and those to be found."""
    order = shuffled(list(users)) if protocol == "comirec" else list(users)
    bounds = {"valid": (0.8, 0.9), "test": (0.9, 1.0)}[split]
    if protocol == "comirec":
        order = order[int(len(order) * bounds[0]) : int(len(order) * bounds[1])]
    first = int(CUT[0] if split == "valid" else CUT[1])
    end = int(CUT[1]) if split == "valid" else 1000
    found = {}
    for user in order:
        own = users[user]
        bought = [place for place, event in enumerate(own) if event.kind == "buy"]
        if protocol == "comirec":
            hidden = bought[int(len(bought) * 0.8) :]
            given = hidden[0] if hidden else 0
        elif protocol == "leave-one-out":
            able = len(bought) > 1 and bought[-2] > 0
            hidden = bought[-2:][:1] if split == "valid" else bought[-1:]
            given = hidden[0] if able else 0
        else:
            given = sum(event.time < first for event in own)
            hidden = [place for place in bought if first <= own[place].time < end]
        if given and hidden:
            items = [event.item for event in own]
            found[user] = items[:given], [items[place] for place in hidden]
    return found


def evaluated(data: Dataset, split: str) -> dict[str, tuple[list[str], list[str]]]:
    raw = ["", *pl.read_parquet(data.folder / "items.parquet")["raw_id"]]
    users = data.evaluation_users(split, 4)
    past = item_lists(users.past.of(0, len(users.lengths)))
    rows, given = data.evaluated(split)
    names = data.raw_users(split).gather(rows).to_list()
    assert given.tolist() == [len(own) for own in past]
    found = {}
    for n, (first, end) in enumerate(pairwise(users.target_offsets)):
        history = [item for item in users.history[n].tolist() if item]
        assert history == past[n][-4:]
        targets = users.target_items[first:end].tolist()
        found[names[n]] = [raw[item] for item in past[n]], [raw[item] for item in targets]
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(3))
def test_evaluation_users_have_the_targets_of_the_loops(
    tmp_path: Path, protocol: str, seed: int
) -> None:
    events = random_events(seed)
    data = data_of(write(tmp_path / "x.csv", events), protocol)
    users = users_slowly(events)
    told = data.meta["source"]["targets"]
    for split in ("valid", "test"):
        expected = evaluated_slowly(users, protocol, split)
        assert evaluated(data, split) == expected
        assert len(expected) > 0
        assert told["without"][split] == len(data.splits[split].lengths) - len(expected)
        exported = users_of_split(data, split, 4, as_evaluated=True)
        assert exported.raw_ids is not None
        assert exported.raw_ids.to_list() == list(expected)
    # The bits of each split are those of the events, and nothing that is hidden is trained on.
    raw = ["", *pl.read_parquet(data.folder / "items.parquet")["raw_id"]]
    for split in SPLITS:
        own = data.splits[split]
        assert own.targets is not None
        assert told["interactions"][split] == own.targets.sum()
        for n, user in enumerate(data.raw_users(split)):
            rows = slice(own.offsets[n], own.offsets[n + 1])
            found = [
                (raw[item], bit)
                for item, bit in zip(own.items[rows], own.targets[rows], strict=True)
            ]
            whole = [(event.item, event.kind == "buy") for event in users[user]]
            assert found == whole[: len(found)]
    # Each interaction is counted once, and kept by what trains on all.
    longest = data.whole_sequences()
    assert longest.targets is not None
    assert totals(data) == (len(longest.lengths), len(longest.items))
    assert describe(data)["interactions"]["all"] == len(longest.items)
    if protocol != "time-split":
        assert len(longest.items) == len(events)
        assert longest.targets.sum() == sum(event.kind == "buy" for event in events)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_target_events_of_every_kind_change_nothing(tmp_path: Path, protocol: str) -> None:
    path = write(tmp_path / "x.csv", random_events(4))
    every = data_of(path, protocol, "buy,view,cart")
    plain = data_of(path, protocol, None)
    assert every.fingerprint == plain.fingerprint
    assert every.splits["train"].targets is None
    assert not list(every.folder.rglob("targets.npy"))
    assert "targets" not in every.meta["source"]
    some = data_of(path, protocol)
    assert some.fingerprint != plain.fingerprint
    assert some.meta["schema"] == 2
    # The same events as a data set's only ones: the same by its own rule.
    bits = np.load(some.folder / "test" / "targets.npy")
    np.save(some.folder / "test" / "targets.npy", ~bits)
    with pytest.raises(DataError, match="damaged"):
        open_dataset(some.folder)
    np.save(some.folder / "test" / "targets.npy", bits[:-1])
    with pytest.raises(DataError, match="damaged"):
        open_dataset(some.folder)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_target_events_are_the_same_for_parts_in_any_order(tmp_path: Path, protocol: str) -> None:
    events = random_events(5)
    events += [Event(one.user, one.item, one.time, "buy") for one in events[:60]]
    prints = set()
    for turn in range(3):
        random.Random(turn).shuffle(events)
        folder = tmp_path / str(turn) / "parts"
        folder.mkdir(parents=True)
        write(folder / "a.csv", events[: 200 + turn])
        write(folder / "b.csv", events[200 + turn :])
        prints.add(data_of(folder, protocol).fingerprint)
    assert len(prints) == 1


def test_prepare_counts_and_prints_users_without_targets(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", random_events(6))
    done = made_of(path, "--target-events", "buy")
    assert done.returncode == 0
    source = json.loads((tmp_path / "x" / "meta.json").read_text())["source"]
    counts, without = source["targets"]["interactions"], source["targets"]["without"]
    assert source["targets"]["events"] == ["buy"]
    assert without["train"] > 0
    said = "To be found: buy only ({train} interactions in train, {valid} in valid, {test} in test)"
    assert said.format(**counts) in done.stdout
    said = "Users with nothing to find: {train} in train (not trained on), {valid} in valid"
    assert said.format(**without) in done.stdout


def test_prepare_refuses_a_split_without_targets(tmp_path: Path) -> None:
    events = [one._replace(kind="view") if one.time > 50 else one for one in random_events(7)]
    with pytest.raises(DataError, match="no user with one of the --target-events"):
        data_of(write(tmp_path / "x.csv", events), "time-split")


def test_train_and_evaluate_use_the_targets(tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", random_events(8, 1500))
    here = ("--data-dir", tmp_path / "data", "--lang", "en")
    made = ("--protocol", "leave-one-out", "--target-events", "buy,cart")
    done = reprise("prepare", source, "--name", "small", *made, *here)
    assert done.returncode == 0, done.stderr
    data = open_dataset(tmp_path / "data" / "small")
    runs = ("--runs-dir", tmp_path / "runs")
    small = ("--steps", 5, "--targets", 2, "--min-history", 1, "--next-n", 2)
    done = reprise("train", *QUICK, *small, *runs, *here)
    assert done.returncode == 0, done.stderr
    assert "--top-n 50: the catalogue has 20 items" in done.stdout
    said = "Only buy, cart events count and are to be found"
    done = reprise("evaluate", RUN, *runs, *here)
    assert said in done.stdout, done.stderr
    assert "At 20, 50, lists hold the whole catalogue (20 items)" in done.stderr
    assert "--cutoffs" not in reprise("evaluate", RUN, "--cutoffs", 5, *runs, *here).stderr
    entries = json.loads((tmp_path / "runs" / RUN / "results.json").read_text())["results"]
    assert all(entry["target_events"] == ["buy", "cart"] for entry in entries)
    # Lists of what is to be found, and of no more, find it all.
    items = pl.read_parquet(data.folder / "items.parquet")["raw_id"]
    users = data.evaluation_users("test", 4)
    rows, _ = data.evaluated("test")
    found = items.gather(users.target_items - 1)
    lists = pl.DataFrame({"user": data.raw_users("test").gather(rows), "item": found, "rank": 1})
    lists.write_csv(tmp_path / "lists.csv")
    own = ("--lists", tmp_path / "lists.csv", "--dataset", "small", "--json")
    facts = json.loads(reprise("evaluate", *own, *here).stdout)
    assert facts["recall@20"] == 1
    assert facts["users"] == len(found) == len(rows)
    assert facts["target_events"] == ["buy", "cart"]
    done = reprise("train", *QUICK[:-2], "--name", "f", "--final-fit", RUN, *runs, *here)
    assert done.returncode == 0, done.stderr
