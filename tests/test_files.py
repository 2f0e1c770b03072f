"""Durable writing: all or nothing, and abandoned drafts are cleared away."""

import subprocess
import sys
from pathlib import Path

import pytest

from reprise import files
from reprise.errors import WriteError


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def half(draft: Path) -> None:
        files.write_file(draft / "a", b"1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.publish_folder(tmp_path / "x", half)
    assert list(tmp_path.iterdir()) == []
    files.publish_folder(tmp_path / "x", lambda draft: files.write_file(draft / "a", b"1", b"2"))
    assert (tmp_path / "x" / "a").read_bytes() == b"12"


def test_a_draft_whose_writer_died_is_cleared_and_a_living_one_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned = tmp_path / f".draft-{ended.pid}-x"
    living = tmp_path / ".draft-1-x"  # process 1 always runs
    of_another = tmp_path / f".draft-{ended.pid}-xy"
    for draft in (abandoned, living, of_another):
        draft.mkdir()
    files.publish_folder(tmp_path / "x", lambda draft: None)
    assert sorted(tmp_path.iterdir()) == sorted([living, of_another, tmp_path / "x"])


def test_two_may_replace_a_file_at_once(tmp_path: Path) -> None:
    others = tmp_path / ".draft-1-report.html"  # of process 1, which always runs
    others.write_bytes(b"half")
    files.replace_file(tmp_path / "report.html", b"whole")
    assert (tmp_path / "report.html").read_bytes() == b"whole"
    assert others.read_bytes() == b"half"


def test_replacing_leaves_the_old_content_where_the_new_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    files.replace_file(path, b"old")

    def failing_fsync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", failing_fsync)
    with pytest.raises(WriteError, match="Input/output error"):
        files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_refusals_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file: File exists"):
        files.make_folder(tmp_path / "file" / "below")
    files.write_file(tmp_path / "once", b"")
    with pytest.raises(WriteError, match="once: File exists"):
        files.write_file(tmp_path / "once", b"")
