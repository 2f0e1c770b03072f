"""Durable writing: all or nothing, and abandoned drafts are cleared away."""

import subprocess
import sys
from pathlib import Path

import pytest

from reprise import durable
from reprise.errors import WriteError


def test_publish_folder_is_all_or_nothing(tmp_path: Path) -> None:
    def half(draft: Path) -> None:
        durable.write_file(draft / "a", b"1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        durable.publish_folder(tmp_path / "x", half)
    assert list(tmp_path.iterdir()) == []
    durable.publish_folder(
        tmp_path / "x", lambda draft: durable.write_file(draft / "a", b"1", b"2")
    )
    assert (tmp_path / "x" / "a").read_bytes() == b"12"


def test_a_draft_whose_writer_died_is_cleared_and_a_living_one_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned = tmp_path / f".draft-{ended.pid}-x"
    living = tmp_path / ".draft-1-x"  # process 1 always runs
    of_another = tmp_path / f".draft-{ended.pid}-xy"
    for draft in (abandoned, living, of_another):
        draft.mkdir()
    durable.publish_folder(tmp_path / "x", lambda draft: None)
    assert sorted(tmp_path.iterdir()) == sorted([living, of_another, tmp_path / "x"])


def test_two_may_replace_a_file_at_once(tmp_path: Path) -> None:
    others = tmp_path / ".draft-1-report.html"  # of process 1, which always runs
    others.write_bytes(b"half")
    durable.replace_file(tmp_path / "report.html", b"whole")
    assert (tmp_path / "report.html").read_bytes() == b"whole"
    assert others.read_bytes() == b"half"


def test_replace_file_keeps_the_old_content_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    durable.replace_file(path, b"old")

    def failing_fsync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", failing_fsync)
    with pytest.raises(WriteError, match="Input/output error"):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_write_errors_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file: File exists"):
        durable.make_folder(tmp_path / "file" / "below")
    durable.write_file(tmp_path / "once", b"")
    with pytest.raises(WriteError, match="once: File exists"):
        durable.write_file(tmp_path / "once", b"")
