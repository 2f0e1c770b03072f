"""Other file types: read if Polars can scan them, else refused with a command to convert them."""

import bz2
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.sources import frame, random_events, refusal, rows_of
from reprise.data.prepare import read_source
from reprise.data.readers.recognise import asked_of

EVENTS = random_events(5)


@pytest.mark.parametrize("suffix", [".feather", ".arrow", ".ipc", ".FEATHER"])
def test_arrow_files_are_read_like_parquet(tmp_path: Path, suffix: str) -> None:
    words = frame(EVENTS).with_columns(pl.col("item_id").cast(pl.Categorical))
    words.write_ipc(tmp_path / f"x{suffix}")
    frame(EVENTS).write_parquet(tmp_path / "x.parquet")
    rows = rows_of(tmp_path / f"x{suffix}")
    assert rows == rows_of(tmp_path / "x.parquet") == EVENTS
    assert "--separator does not apply" in refusal(
        tmp_path / f"x{suffix}", asked_of(separator="tab")
    )


def test_arrow_files_in_a_folder_are_parts_of_a_table(tmp_path: Path) -> None:
    for number in range(5):
        frame(EVENTS[number::5]).write_ipc(tmp_path / f"part-{number}.arrow")
    assert sorted(rows_of(tmp_path)) == sorted(EVENTS)
    frame(EVENTS).write_parquet(tmp_path / "z.parquet")
    assert "must have the same file type" in refusal(tmp_path)


def test_arrow_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.arrow").write_bytes(b"ARROW1\0\0 and no more")
    assert f"{tmp_path / 'x.arrow'}: cannot be read as Arrow: " in refusal(tmp_path / "x.arrow")


WRITERS: dict[str, Callable[[Path], Any]] = {
    "x y's.avro": lambda path: frame(EVENTS).write_avro(path),
    "x.arrow": lambda path: frame(EVENTS).write_ipc_stream(path),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("whole", [False, True])
def test_refusal_prints_a_command_that_converts_the_file(
    tmp_path: Path, name: str, whole: bool
) -> None:
    """Those that need no package that Reprise does not need."""
    folder = tmp_path / "f"
    folder.mkdir()
    WRITERS[name](folder / name)
    said = refusal(folder if whole else folder / name)
    assert said.startswith(f"{folder / name}: files of this kind are not read.")
    python, *line = shlex.split(said.partition("prepare that: ")[2])
    assert python == "python"
    subprocess.run([sys.executable, *line], check=True, timeout=60)
    (folder / name).unlink()
    assert sorted(rows_of((folder / name).with_suffix(".parquet"))) == sorted(EVENTS)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("x.xlsx", "pip install fastexcel && python -c 'import polars; polars.read_excel("),
        ("x.orc", "pip install pyarrow && python -c 'import pyarrow.orc, pyarrow.parquet; "),
        ("x.PKL", "pip install pandas pyarrow && python -c 'import pandas; pandas.read_pickle("),
        ("x.h5", "pip install pandas tables pyarrow && "),
        ("x.duckdb", "this is a database"),
        ("x.csv.bz2", "Unpack it"),
        ("x.zip", "Unpack it"),
        ("x.tar.gz", "Unpack it"),
    ],
)
@pytest.mark.parametrize("format_name", [None, "table"])
def test_refusal_of_other_kinds_states_a_way_around(
    tmp_path: Path, name: str, needed: str, format_name: str | None
) -> None:
    (tmp_path / name).write_bytes(bz2.compress(b"x"))
    asked = asked_of(format_name=format_name)
    for source in (tmp_path / name, tmp_path):
        said = refusal(source, asked)
        assert said.startswith(f"{tmp_path / name}: ")
        assert needed in said


# What Hive and Hadoop write


@pytest.mark.parametrize("names", [("000000_0", "000001_0"), ("part-00000", "part-m-00001")])
def test_read_source_takes_texts_without_a_suffix_as_parts(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    lines = ["\x01".join((user, item, str(int(time)))) + "\n" for user, item, time in EVENTS]
    for start, name in enumerate(names):
        (tmp_path / name).write_text("".join(lines[start::2]))
    (tmp_path / "_SUCCESS").touch()
    asked = asked_of(user_col="1", item_col="2", time_col="3")
    for told in (asked, asked._replace(dialect=asked_of(separator="\\x01").dialect)):
        draft = read_source(tmp_path, asked=told)
        assert draft.source["read"]["interactions"] == len(EVENTS)
        assert draft.source["taken"]["separator"] == ["\x01"]


def test_read_source_takes_parquet_without_a_suffix_and_refuses_orc(tmp_path: Path) -> None:
    frame(EVENTS).write_parquet(tmp_path / "000000_0")
    assert rows_of(tmp_path) == EVENTS
    (tmp_path / "000000_0").write_bytes(b"ORC\x0a")
    for source in (tmp_path, tmp_path / "000000_0"):
        assert "import pyarrow.orc" in refusal(source)
