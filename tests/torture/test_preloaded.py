"""`reprise` on file systems that refuse what others grant: real processes, faulty system calls."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.commands import RUN, Done, check_refusal, inspect_json, reprise, train
from helpers.preloaded import built

STEPS = ("--steps", 10)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def faulty(library: Path, small_data: Path) -> Callable[..., Done]:
    """Trains under faults (`faults.c`) in a process of its own."""

    def start(runs: Path, faults: str, *options: object) -> Done:
        preloaded = {"LD_PRELOAD": str(library), "FAULTS": faults}
        return train(small_data, runs, *STEPS, *options, own_process=True, **preloaded)

    return start


@pytest.fixture(scope="module")
def sound(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of ten steps, trained without a fault; only to be copied."""
    runs = tmp_path_factory.mktemp("sound")
    done = train(small_data, runs, *STEPS)
    assert done.returncode == 0, done.stderr
    return runs


@pytest.fixture
def begun(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "begun"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("LOCK", "train.log")
    }


def digest(runs: Path) -> object:
    return inspect_json(runs / RUN)["state_digest"]


def test_train_needs_neither_locks_nor_folder_fsync_nor_fadvise(
    faulty: Callable[..., Done], tmp_path: Path, sound: Path
) -> None:
    """As on some NFS, Lustre and FUSE mounts; the weaker durability is said once."""
    done = faulty(tmp_path, "flock=ENOLCK fsync=EINVAL@*/ posix_fadvise=EINVAL")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("cannot make folders durable") == 1
    assert digest(tmp_path) == digest(sound)
    assert not (tmp_path / RUN / "LOCK.owner").exists()


@pytest.mark.long
@pytest.mark.parametrize("number", ["ENOSYS", "EOPNOTSUPP"])
def test_train_needs_no_locks_under_any_name(
    faulty: Callable[..., Done], tmp_path: Path, sound: Path, number: str
) -> None:
    done = faulty(tmp_path, f"flock={number} fsync={number}@*/ posix_fadvise={number}")
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path) == digest(sound)


@pytest.mark.parametrize(
    "fault",
    [
        "opendir=EACCES",
        pytest.param("readdir=EIO", marks=pytest.mark.long),
        pytest.param("opendir=ESTALE", marks=pytest.mark.long),
    ],
)
def test_train_does_not_begin_anew_where_checkpoints_cannot_be_listed(
    faulty: Callable[..., Done], begun: Path, fault: str
) -> None:
    before = contents(begun)
    done = faulty(begun, f"{fault}@*/{RUN}/checkpoints/")
    check_refusal(done, 6, "Cannot list", "checkpoints")
    assert done.stderr.count("\n") == 1
    assert contents(begun) == before


def test_runs_shows_others_beside_a_run_that_cannot_be_listed(library: Path, begun: Path) -> None:
    shutil.copytree(begun / RUN, begun / "small_other")
    done = reprise(
        *("runs", "--runs-dir", begun, "--json"),
        own_process=True,
        LD_PRELOAD=str(library),
        FAULTS="readdir=EIO@*/small_other/checkpoints/",
    )
    assert done.returncode == 0, done.stderr
    states = {Path(run["folder"]).name: run["state"] for run in json.loads(done.stdout)}
    assert states == {RUN: "finished", "small_other": "damaged"}


@pytest.mark.parametrize(
    "fault",
    [
        f"write=ENOSPC@*/{RUN}/*+12000",
        pytest.param(f"write=EDQUOT@*/{RUN}/*+3000", marks=pytest.mark.long),
        pytest.param(f"write=ENOSPC@*/{RUN}/*+30000", marks=pytest.mark.long),
        pytest.param(f"fsync=EIO@*/{RUN}/checkpoints/*+12", marks=pytest.mark.long),
        pytest.param("rename=ESTALE@*/ckpt-*", marks=pytest.mark.long),
        pytest.param(f"mkdir=EROFS@*/{RUN}/checkpoints/*", marks=pytest.mark.long),
    ],
)
def test_train_ends_in_one_line_on_a_failing_write_and_resumes_to_the_same_bits(
    faulty: Callable[..., Done], small_data: Path, tmp_path: Path, sound: Path, fault: str
) -> None:
    done = faulty(tmp_path, fault)
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert [line[:6] for line in done.stderr.splitlines()] == ["Error:"]
    done = train(small_data, tmp_path, *STEPS)
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path) == digest(sound)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "code"),
    [(f"read=EIO@*/{RUN}/checkpoints/*/rows.npy", 6), ("read=EIO@*/train/items.npy", 3)],
)
def test_train_takes_what_cannot_be_read_for_no_damage(
    faulty: Callable[..., Done], begun: Path, fault: str, code: int
) -> None:
    before = contents(begun)
    done = faulty(begun, fault, "--steps", 20)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(begun) == before
