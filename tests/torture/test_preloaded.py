"""`reprise` on file systems that refuse what others grant: real processes, faulty system calls."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import (
    ENVIRONMENT,
    QUICK,
    RUN,
    Done,
    check_refusal,
    inspect_json,
    reprise,
    train,
)
from helpers.preloaded import built
from reprise.checkpoints import store

pytestmark = pytest.mark.users_bits

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


# ---- data that changes under a training ----

MAPPED = """
from reprise.data import dataset, npy
dataset.MAPPED_FROM = npy.MAPPED_FROM = 1
from reprise.__main__ import main
main()
"""
# While step 5 is recorded: after its check, and before the next, whatever the saver's thread does.
AT_STEP_5 = f"@*/{RUN}/metrics.jsonl"


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture
def changing(library: Path, data: Path, tmp_path: Path) -> Callable[..., Done]:
    """Trains while a file of the data set changes after the run's first evaluation, in a process
    that reads it, or maps it.
    """

    def start(change: str, file: Path, new: Path, mapped: bool) -> Done:
        words = ("train", *QUICK, *STEPS, "--data-dir", data, "--runs-dir", tmp_path / "runs")
        program = ("-c", MAPPED) if mapped else ("-m", "reprise")
        preloaded = {"LD_PRELOAD": str(library), "FAULTS": f"write={change}{AT_STEP_5}"}
        return subprocess.run(
            [sys.executable, *program, *map(str, words)],
            env=ENVIRONMENT | preloaded | {"FAULT_FILE": str(file), "FAULT_NEW": str(new)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start


@pytest.mark.parametrize(
    ("change", "name", "mapped"),
    [
        ("CUT", "train/items.npy", True),
        pytest.param("CUT", "train/items.npy", False, marks=pytest.mark.long),
        pytest.param("CUT", "valid/items.npy", True, marks=pytest.mark.long),
        ("SWAP", "train/items.npy", False),
        pytest.param("SWAP", "train/items.npy", True, marks=pytest.mark.long),
    ],
)
def test_train_ends_in_one_line_where_its_data_is_cut_or_replaced(
    changing: Callable[..., Done],
    small_data: Path,
    data: Path,
    tmp_path: Path,
    change: str,
    name: str,
    mapped: bool,
) -> None:
    file, new = data / "small" / name, tmp_path / "new.npy"
    items = np.load(file)
    np.save(new, items[::-1])  # of the same size
    done = changing(change, file, new, mapped)
    check_refusal(done, 3)
    assert done.stderr.count("\n") == 1
    assert "has changed while" in done.stderr or "became shorter" in done.stderr
    stored = store.names(tmp_path / "runs" / RUN / "checkpoints")
    assert [path.name for path in stored] == ["ckpt-5"]  # nothing that was trained since
    done = train(small_data, tmp_path / "runs", *STEPS)  # with the data as it was
    assert done.returncode == 0, done.stderr


CUTTING = """
import os, sys
from pathlib import Path
import click
from reprise.cli.main import run_guarded
from reprise.data import npy
npy.MAPPED_FROM = 1

@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def command(path):
    array = npy.open_array(path)
    os.truncate(path, 0)
    print(array.sum())

run_guarded(command)
"""


def test_run_guarded_ends_in_one_line_where_what_is_mapped_is_cut(tmp_path: Path) -> None:
    """The system ends such a process without a word."""
    np.save(tmp_path / "a.npy", np.arange(100))
    done = subprocess.run(
        [sys.executable, "-c", CUTTING, str(tmp_path / "a.npy")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    check_refusal(done, 3, f"{tmp_path / 'a.npy'} became shorter")
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
