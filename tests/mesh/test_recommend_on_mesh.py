"""Lists for the histories of a file, by a model whose rows are dealt, against one device's."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers.commands import check_refusal, reprise, run_small
from helpers.processes import Pair
from reprise.retrieval import on_mesh
from reprise.runs.folder import RunFolder

pytestmark = pytest.mark.mesh

ASKED: dict[str, tuple[object, ...]] = {
    "plain": (),
    "seen": ("--filter-seen", "-n", 60),  # more than there are
    "filtered": ("--exclude", "i3 i9", "--allow", " ".join(f"i{n}" for n in range(2, 31))),
    "diverse": ("--diversity", 0.3, "-n", 7),
    "weighted": ("--weights", "0.5 0", "-n", 5),
    "by category": ("--categories", "1"),
}


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 600 histories: more than one chunk, some empty, some with unknown items."""
    path = tmp_path_factory.mktemp("histories") / "users.jsonl"
    rows = [
        {"user": f"u{n}", "history": [f"i{1 + (n * k) % 43}" for k in range(1, 1 + n % 9)]}
        for n in range(600)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lists_of(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.1, "repeat_bias": True, "model": "Queries"},
        {"memory": "rules", "temperature": 0.2},
    ],
    ids=["rows", "cosines", "memory"],
)
def test_lists_of_four_devices_are_those_of_one(
    settings: dict[str, Any],
    asked: str,
    histories: Path,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(on_mesh, "_TOGETHER", 2)  # of three chunks
    _, _, folder = run_small(small_data, tmp_path, **settings)
    of_run = ("recommend", folder.path, "--data-dir", small_data, "--histories", histories)
    kind = "jsonl" if asked == "seen" else "parquet"
    for devices in (1, 4):
        more = ("--output", tmp_path / f"{devices}.{kind}", "--devices", devices)
        done = reprise(*of_run, *ASKED[asked], *more)
        assert done.returncode == 0, done.stderr
    one, four = (lists_of(tmp_path / f"{devices}.{kind}") for devices in (1, 4))
    assert len(one) > 0
    assert_frame_equal(one, four, rel_tol=1e-5, abs_tol=1e-6)


@pytest.mark.parametrize("kind", ["parquet", pytest.param("jsonl", marks=pytest.mark.long)])
def test_two_processes_write_the_lists_of_one(
    kind: str, on_four: RunFolder, histories: Path, small_data: Path, tmp_path: Path
) -> None:
    runs = on_four.path.parent
    of_run = ("recommend", on_four.path.name, "--histories", histories, "--filter-seen")
    where = ("--runs-dir", runs, "--data-dir", small_data)
    done = reprise(*of_run, "--output", tmp_path / f"alone.{kind}", *where)
    assert done.returncode == 0, done.stderr
    output = ("--output", tmp_path / f"together.{kind}")
    (code, out, err), other = Pair(small_data, runs, *output, command=of_run).ended()
    assert (code, err, other) == (0, done.stderr, (0, "", ""))
    assert out == done.stdout.replace("alone", "together")
    alone, together = (lists_of(tmp_path / f"{name}.{kind}") for name in ("alone", "together"))
    assert_frame_equal(alone, together, rel_tol=1e-5, abs_tol=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        ("--history", "i1"),
        ("--user", "u1"),
        ("--histories", "x.jsonl", "--output", "y.jsonl", "--explain"),
    ],
)
def test_recommend_refuses_what_is_for_one_device(
    words: tuple[object, ...], on_four: RunFolder, small_data: Path
) -> None:
    where = (on_four.path, "--data-dir", small_data, "--devices", 2)
    option = words[-1] if words[-1] == "--explain" else words[0]
    check_refusal(reprise("recommend", *where, *words), 2, str(option), "--devices")
