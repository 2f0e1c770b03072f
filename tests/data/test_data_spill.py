"""Preparing with rows on disk: the same folder, byte by byte, as in memory."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import write_comirec
from helpers.commands import ENVIRONMENT, reprise_command
from helpers.effort import examples
from reprise.data import ordering, spill
from reprise.data import prepare as preparing
from reprise.data.build import More
from reprise.data.prepare import prepare
from reprise.data.readers import interactions
from reprise.data.readers.features import features_asked
from reprise.data.readers.recognise import asked_of
from reprise.data.rows import Times
from reprise.errors import DataError, UsageError, WriteError

PROTOCOLS = ("comirec", "leave-one-out", "time-split")


def random_rows(rng: random.Random, ids: str, times: str, count: int = 500) -> pl.DataFrame:
    """Return rows with many ties; a category and a title, which some rows do not tell."""
    far = rng.sample(range(2**32 - 1), 60)
    user_ids = {"small": range(1, 40), "far": far, "texts": [f"u{n:03}" for n in range(40)]}[ids]
    item_ids = {"small": range(1, 20), "far": far[40:], "texts": [f"i{n:03}" for n in range(20)]}[
        ids
    ]
    scale = {"whole": 1, "broken": 0.5, "floats": 1.0, "clock": 1, "broken clock": 0.5}[times]
    start = 10**9 if "clock" in times else 0
    items = [rng.choice(item_ids) for _ in range(count)]
    kinds = [rng.choice([None, "a|x", "b", "é", "10", "9"]) for _ in range(count)]
    return pl.DataFrame(
        {
            "user": [rng.choice(user_ids) for _ in range(count)],
            "item": items,
            "time": [start + rng.randint(0, 60) * scale for _ in range(count)],
            "category": [rng.choice([None, 3, 2**32 - 1]) for _ in range(count)]
            if rng.random() < 0.5
            else kinds,
            "title": [rng.choice([None, f"title of {item}", "?"]) for item in items],
            "event": [rng.choice(["view", "view", "cart", "buy", None]) for _ in items],
        }
    )


def write_source(frame: pl.DataFrame, folder: Path, form: str, rng: random.Random) -> Path:
    """Write a table in one file, or in parts, of which the last tells nothing of its items."""
    if form == "parts":
        (folder / "parts").mkdir()
        half = len(frame) // 2
        frame[:half].write_parquet(folder / "parts" / "a.parquet")
        frame[half:].drop("category", "title").write_parquet(folder / "parts" / "b.parquet")
        return folder / "parts"
    path = folder / f"x.{form}"
    if form == "csv":
        frame.write_csv(path)
    elif form == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path, row_group_size=100)
    return path


def contents(folder: Path, name: str) -> dict[str, bytes]:
    """Return every file of a dataset, its name left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(name.encode(), b"")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make portions, blocks and batches of a few rows, and take any ids for far apart."""
    monkeypatch.setattr(spill, "_PORTION", (1, 7))
    monkeypatch.setattr(spill, "_MOST_PORTIONS", 60)
    monkeypatch.setattr(spill, "_ALLOWANCE", 50)
    monkeypatch.setattr(ordering, "_BLOCK", 64)
    monkeypatch.setattr(interactions, "_BATCH", 50)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@examples(10)
@given(
    seed=st.integers(0, 10**6),
    protocol=st.sampled_from(PROTOCOLS),
    ids=st.sampled_from(["small", "far", "texts"]),
    times=st.sampled_from(["whole", "broken", "floats", "clock", "broken clock"]),
    cold=st.sampled_from([None, 0.3]),
    form=st.sampled_from(["csv", "jsonl", "parquet", "parts"]),
    core=st.sampled_from([None, 2, 9]),
    holes=st.booleans(),
    targets=st.sampled_from([None, "buy", "cart,buy", "view,cart,buy"]),
)
@pytest.mark.usefixtures("tiny")
def test_prepare_makes_the_same_folder_on_disk_as_in_memory(
    seed: int,
    protocol: str,
    ids: str,
    times: str,
    cold: float | None,
    form: str,
    core: int | None,
    holes: bool,
    targets: str | None,
) -> None:
    rng = random.Random(seed)
    frame = random_rows(rng, ids, times)
    if holes:
        some = pl.Series([rng.random() < 0.9 for _ in range(len(frame))])
        column = rng.choice(["user", "time"])
        frame = frame.with_columns(pl.when(some).then(column).alias(column))
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = write_source(frame, folder, form, rng)
        asked = asked_of("table", drop_invalid=holes, target_events=targets)
        more = More(features_asked("category", None), cold)
        made: list[Any] = []
        for place, memory in (("memory", None), ("disk", "12GB")):
            try:
                given_data = source, place, folder, protocol, core, asked
                made.append(contents(prepare(*given_data, max_memory=memory, more=more), place))
            except DataError as error:
                made.append(str(error))
        assert made[0] == made[1]
        left = {path.name for path in folder.iterdir()}
        assert left <= {"memory", "disk", source.name}


def test_prepare_splits_users_into_several_portions(
    tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_rows(random.Random(1), "texts", "whole").write_parquet(tmp_path / "x.parquet")
    seen: list[tuple[str, int, int]] = []
    prepare(
        tmp_path / "x.parquet",
        "x",
        tmp_path,
        on_progress=lambda *told: seen.append(told),
        max_memory=2 * 10**9,
    )
    ordered = [(rows, of) for stage, rows, of in seen if stage == "order" and rows]
    assert len(ordered) > 10
    assert ordered[-1][0] == ordered[-1][1] == 500
    assert [(rows, of) for stage, rows, of in seen if stage == "read"][-1] == (500, 500)


@examples(40)
@given(
    st.lists(
        st.integers(-(2**62), 2**62) | st.integers(-3, 3) | st.just(2**62), min_size=1, max_size=40
    ),
    st.booleans(),
    st.data(),
)
def test_times_nth_equals_sorting(numbers: list[int], broken: bool, data: st.DataObject) -> None:
    times = np.array(numbers, np.int64) / 7 if broken else np.array(numbers, np.int64)
    place = data.draw(st.integers(0, len(times) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reprise.data.rows._BITS", 5)
        found = Times(partial(np.array_split, times, 3)).nth(place)
    assert found == np.sort(times)[place]


# What suffices


@pytest.mark.parametrize("asked", ["much", "-1GB", "500MB", "0", 12])
def test_prepare_refuses_an_invalid_max_memory(tmp_path: Path, asked: str | int) -> None:
    random_rows(random.Random(1), "small", "whole").write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="1GB on"):
        prepare(tmp_path / "x.parquet", "x", tmp_path / "data", max_memory=asked)


@pytest.mark.usefixtures("tiny")
def test_prepare_does_not_count_what_its_process_held_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_rows(random.Random(1), "small", "whole").write_parquet(tmp_path / "x.parquet")
    allocated = spill._allocated
    monkeypatch.setattr(spill, "_allocated", lambda: allocated() + 10**11)
    assert prepare(tmp_path / "x.parquet", "x", tmp_path, max_memory="1.5GB").is_dir()


def test_prepare_reports_memory_and_disk_use_and_refuses_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_rows(random.Random(1), "small", "whole").write_parquet(tmp_path / "x.parquet")
    said: list[dict[str, Any]] = []
    make = partial(prepare, tmp_path / "x.parquet", "x", tmp_path / "data", max_memory="1.5 gb")
    monkeypatch.setattr(preparing, "available_memory", lambda: 10**9)
    with pytest.raises(UsageError, match=r"only 1\.0 GB of memory are free"):
        make()
    monkeypatch.undo()
    monkeypatch.setattr(spill, "_ON_DISK", 10**12)
    with pytest.raises(WriteError, match=r"500 rows on disk may take 500000\.0 GB in .*data"):
        make()
    monkeypatch.undo()
    monkeypatch.setattr(spill, "_OF_ID", 10**9)
    with pytest.raises(DataError, match=r"1\.5 GB is not enough for the users.*or more"):
        make()
    assert not list((tmp_path / "data").iterdir())
    monkeypatch.undo()
    make(say=lambda key, **values: said.append({"key": key, **values}))
    assert said[0]["key"] == "spill_plan"
    assert (said[0]["rows"], said[0]["memory"]) == ("500", "1.5")


def test_prepare_refuses_max_memory_for_a_split_source(tmp_path: Path) -> None:
    splits = ("train", "valid", "test")
    rows = {
        split: [(user, item, item) for item in range(1, 6)] for user, split in enumerate(splits)
    }
    source = write_comirec(tmp_path / "s", rows)
    with pytest.raises(UsageError, match="Leave --max-memory out"):
        prepare(source, "x", tmp_path / "data", max_memory="2GB")


# Killed

# Runs the command line, and kills it just before it changes or opens a file for the nth time.
KILLED = """
import os, runpy, signal, sys

data, number = sys.argv[1], int(sys.argv[2])
seen = 0

def watch(event, arguments):
    global seen
    if event in CHANGES and str(arguments[0]).startswith(data):
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
sys.addaudithook(watch)
sys.argv[:] = ["reprise", *sys.argv[3:]]
runpy.run_module("reprise", run_name="__main__")
"""


def check_kills(folder: Path, instants: Iterable[int]) -> int:
    """Kill the command at instants, until one is none; run it, and compare with a folder made in
    memory. Return how often it was killed.
    """
    random_rows(random.Random(1), "texts", "whole", 2000).write_csv(folder / "x.csv")
    expected = contents(prepare(folder / "x.csv", "x", folder / "expected"), "")
    data = folder / "data"
    data.mkdir()
    given_data = ["prepare", folder / "x.csv", "--name", "x", "--data-dir", data]
    command = [*map(str, given_data), "--max-memory", "1GB"]
    killed = 0
    for number in instants:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(data), str(number), *command],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
            timeout=120,
        )
        if (data / "x").exists():  # whole, or not there
            assert contents(data / "x", "") == expected
            shutil.rmtree(data / "x")
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
    done = subprocess.run(
        reprise_command(*command), env=ENVIRONMENT, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert contents(data / "x", "") == expected
    assert [path.name for path in data.iterdir()] == ["x"]
    return killed


def test_prepare_killed_at_some_instants_makes_the_same_folder_when_rerun(
    tmp_path: Path,
) -> None:
    assert check_kills(tmp_path, [8, 20, 45]) == 3


@pytest.mark.long
def test_prepare_killed_at_any_instant_makes_the_same_folder_when_rerun(
    tmp_path: Path,
) -> None:
    assert check_kills(tmp_path, range(1, 1000)) > 45
