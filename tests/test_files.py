"""Durable writing: all or nothing, and abandoned drafts are cleared away."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from helpers.crash_states import RecordingDisk, crash_states
from reprise import durable
from reprise.errors import WriteError


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
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


def test_replacing_leaves_the_old_content_where_the_new_cannot_be_written(
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


def test_refusals_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file: File exists"):
        durable.make_folder(tmp_path / "file" / "below")
    durable.write_file(tmp_path / "once", b"")
    with pytest.raises(WriteError, match="once: File exists"):
        durable.write_file(tmp_path / "once", b"")


# ---- replace_folder, restore ----


def write_new(draft: Path) -> None:
    durable.write_file(draft / "a", b"new")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder x, whose file a says "old"."""
    durable.publish_folder(tmp_path / "x", lambda draft: durable.write_file(draft / "a", b"old"))
    return tmp_path / "x"


def test_replace_folder_leaves_nothing_of_the_old_one(old: Path) -> None:
    for _ in range(2):
        durable.replace_folder(old, write_new)
        assert list(old.parent.iterdir()) == [old]
        assert (old / "a").read_bytes() == b"new"
    durable.replace_folder(old.parent / "y", write_new)  # where nothing was
    assert (old.parent / "y" / "a").read_bytes() == b"new"


def test_replace_folder_that_is_refused_leaves_the_old_one(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its operations fails, the clean-up's aside."""
    real = {
        name: getattr(durable.Disk, name) for name in ("write", "sync", "make_folder", "rename")
    }
    outcomes = set()
    for failing in range(12):
        done = 0

        def refusing(name: str, *given: object, at: int = failing) -> None:
            nonlocal done
            done += 1
            if done == at + 1:
                raise OSError(28, "No space left on device")
            real[name](durable.disk, *given)

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(durable.disk, name, partial(refusing, name), raising=False)
            try:
                durable.replace_folder(old, write_new)
            except WriteError:
                outcomes.add("refused")
                assert (old / "a").read_bytes() in (b"old", b"new")
            else:
                outcomes.add("replaced")
                assert (old / "a").read_bytes() == b"new"
        durable.restore(old)
        assert list(old.parent.iterdir()) == [old]
        durable.replace_folder(old, lambda draft: durable.write_file(draft / "a", b"old"))
    assert outcomes == {"refused", "replaced"}


def test_replace_folder_survives_a_crash_at_any_instant(
    old: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power loss before, between and after all operations, whatever the disk has kept by then."""
    disk = RecordingDisk(old.parent)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "disk", disk)
        durable.replace_folder(old, write_new)
        disk.acknowledge()
    monkeypatch.setattr(durable, "_is_running", lambda pid: False)  # who wrote it has crashed
    found = set()
    for number, state in enumerate(crash_states(disk)):
        root = tmp_path_factory.mktemp(f"state{number}")
        state.build(root)
        durable.restore(root / "x")
        content = (root / "x" / "a").read_bytes()
        found.add((content, state.acknowledged))
        durable.replace_folder(root / "x", write_new)
        assert list(root.iterdir()) == [root / "x"]
    assert found == {(b"old", 0), (b"new", 0), (b"new", 1)}
