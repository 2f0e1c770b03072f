"""Durable writing: all or nothing, and abandoned drafts are cleared away."""

import errno
import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from helpers.crash_states import RecordingDisk, crash_states
from helpers.drafts import left_draft, living_draft
from helpers.racers import raced
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


def test_publish_folder_clears_drafts_that_crashes_left_and_no_living_ones(tmp_path: Path) -> None:
    left_draft(tmp_path, "x")
    of_another = left_draft(tmp_path, "xy", 3)
    with living_draft(tmp_path, "x") as living:
        durable.publish_folder(tmp_path / "x", lambda draft: None)
        assert {path for path in tmp_path.iterdir() if path.suffix != ".lock"} == {
            living,
            of_another,
            tmp_path / "x",
        }


def test_publish_folder_leaves_a_draft_without_a_lock_for_a_day(tmp_path: Path) -> None:
    # Older versions wrote no lock files, and their process's number may be taken in a container.
    old, fresh = tmp_path / ".draft-1-x", tmp_path / ".draft-2-x"
    for draft in (old, fresh):
        draft.mkdir()
    long_ago = time.time() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    assert durable.abandoned(tmp_path) == [old]


def test_abandoned_goes_by_age_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, old = left_draft(tmp_path, "x"), left_draft(tmp_path, "x", 3)
    long_ago = time.time() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    monkeypatch.setattr("fcntl.flock", refusing(errno.ENOLCK))
    assert old in durable.abandoned(tmp_path)
    assert fresh not in durable.abandoned(tmp_path)
    durable.publish_folder(tmp_path / "y", lambda draft: None)
    assert (tmp_path / "y").is_dir()


def test_publish_file_spares_the_draft_of_another_writer(tmp_path: Path) -> None:
    with living_draft(tmp_path, "report.html") as others:
        (others / "half").write_bytes(b"half")
        durable.replace_file(tmp_path / "report.html", b"whole")
        assert (tmp_path / "report.html").read_bytes() == b"whole"
        assert (others / "half").read_bytes() == b"half"


RACER = """
import sys
from pathlib import Path
from reprise import durable
from reprise.errors import WriteError
def fill(draft):
    for number in range(40):
        durable.write_file(draft / str(number), b"%d" % number)
target, rounds = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
won = []
for number in range(rounds):
    try:
        durable.publish_folder(target / str(number), fill)
        won.append(number)
    except WriteError as error:
        assert "not empty" in str(error) or "exists" in str(error), error
print(*won)
"""


@pytest.mark.parametrize(
    "rounds", [pytest.param(10, id="few"), pytest.param(200, id="many", marks=pytest.mark.long)]
)
def test_publish_folder_lets_one_of_racing_writers_win_with_all_files(
    tmp_path: Path, rounds: int
) -> None:
    said = raced(RACER, tmp_path, rounds, racers=3)
    won = [int(number) for one in said for number in one.split()]
    assert sorted(won) == list(range(rounds))
    for number in range(rounds):
        found = {path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()}
        assert found == {str(one): b"%d" % one for one in range(40)}
    assert len(list(tmp_path.iterdir())) == rounds  # no draft and no lock file is left


def test_publish_folder_says_which_file_vanished_while_it_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = durable.disk.rename

    def losing(path: Path, target: Path) -> None:
        (path / "b").unlink()
        rename(path, target)

    def fill(draft: Path) -> None:
        for name in ("a", "b"):
            durable.write_file(draft / name, b"1")

    monkeypatch.setattr(durable.disk, "rename", losing)
    with pytest.raises(WriteError, match="lacks b"):
        durable.publish_folder(tmp_path / "x", fill)


def refusing(number: int) -> Callable[..., None]:
    """A system call that fails with an error's number."""

    def call(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_disk_saves_where_folders_cannot_be_synced_and_pages_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.fsync

    def of_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refusing(number)()
        real(descriptor)

    monkeypatch.setattr("os.fsync", of_files)
    monkeypatch.setattr("os.posix_fadvise", refusing(errno.EINVAL))
    durable.publish_folder(tmp_path / "x", lambda draft: durable.write_file(draft / "a", b"1"))
    assert (tmp_path / "x" / "a").read_bytes() == b"1"
    assert not durable.can_sync_folder(tmp_path)
    monkeypatch.setattr("os.fsync", refusing(number))  # of files it is an error
    with pytest.raises(WriteError):
        durable.write_file(tmp_path / "b", b"1")


def test_entries_tells_an_empty_folder_from_one_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert durable.entries(tmp_path) == durable.entries(tmp_path / "none") == []
    assert durable.can_sync_folder(tmp_path)
    monkeypatch.setattr("os.listdir", refusing(errno.EACCES))
    monkeypatch.setattr("os.scandir", refusing(errno.EACCES))
    with pytest.raises(PermissionError):
        durable.entries(tmp_path)


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


@pytest.mark.parametrize("linked", [False, True])
def test_publish_file_replaces_no_pipe_or_device(tmp_path: Path, linked: bool) -> None:
    """Such as /dev/full, or /dev/stdout, which is a link."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    with pytest.raises(WriteError, match="not a plain file"):
        durable.replace_file(path, b"new")
    assert pipe.is_fifo()
    assert path.is_symlink() == linked


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
                durable.restore(old)
                assert (old / "a").read_bytes() == b"old"
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
    found = set()
    for number, state in enumerate(crash_states(disk)):
        root = tmp_path_factory.mktemp(f"state{number}")
        state.build(root)
        durable.restore(root / "x")
        content = (root / "x" / "a").read_bytes()
        found.add((content, state.acknowledged))
        durable.replace_folder(root / "x", write_new)
        left = [path.name for path in root.iterdir() if not path.name.startswith(".draft-")]
        assert left == ["x"]
    assert found == {(b"old", 0), (b"new", 0), (b"new", 1)}
