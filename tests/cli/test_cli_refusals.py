"""What the system refuses, or has too little of, is one line that says what to do, and an exit
code.
"""

import errno
import resource
from pathlib import Path

import click
import jax
import pytest

from helpers.checkpoints import IDENTITY, snapshot
from helpers.commands import QUICK, Done, check_refusal, reprise, train
from reprise import durable
from reprise.checkpoints import store
from reprise.cli.main import run_guarded
from reprise.errors import DeviceError, MemoryLimitError, WriteError
from reprise.runtime import device, memory

ONE_LINE = 1


def limited(kind: str, value: int, data: Path, runs: Path) -> Done:
    """Train in a process with a limit of the system's."""
    limit = f"resource.setrlimit(resource.{kind}, ({value}, {value}))"
    return train(data, runs, "--steps", 5, before=limit)


@pytest.mark.parametrize(("size", "library"), [(120, "numpy"), (300, "jax"), (550, "jax")])
def test_loading_refuses_too_little_memory(
    size: int, library: str, small_data: Path, tmp_path: Path
) -> None:
    done = limited("RLIMIT_AS", size * 10**6, small_data, tmp_path)
    check_refusal(done, 8, f"Too little memory to load {library}: ", f"{size} MB", "ulimit -v")
    assert done.stderr.count("\n") == ONE_LINE


def test_train_reports_a_file_size_limit(small_data: Path, tmp_path: Path) -> None:
    done = limited("RLIMIT_FSIZE", 0, small_data, tmp_path)
    check_refusal(done, 7, f"Cannot write {tmp_path / 'small_t'}", "File too large")
    assert "intact" not in done.stderr
    assert done.stderr.count("\n") == ONE_LINE


@pytest.mark.parametrize("files", [5, pytest.param(6, marks=pytest.mark.long)])
def test_train_reports_a_limit_of_open_files(files: int, small_data: Path, tmp_path: Path) -> None:
    done = limited("RLIMIT_NOFILE", files, small_data, tmp_path)
    assert done.returncode in (3, 7)
    assert done.stderr.startswith("Error: Cannot ")
    assert "Too many open files" in done.stderr
    assert done.stderr.count("\n") == ONE_LINE


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_train_reports_a_platform_that_is_missing(
    platform: str, small_data: Path, tmp_path: Path
) -> None:
    words = ("--data-dir", small_data, "--runs-dir", tmp_path)
    done = reprise("train", *QUICK, *words, own_process=True, JAX_PLATFORMS=platform)
    check_refusal(done, 9, f"JAX_PLATFORMS={platform}", "JAX_PLATFORMS=cpu", "reprise-rec[cuda]")
    assert done.stderr.count("\n") == ONE_LINE


def test_present_raises_device_error_only_for_jax_platforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(jax, "default_backend", fails)
    before = jax.config.jax_platforms  # type: ignore[attr-defined]
    try:
        jax.config.update("jax_platforms", None)  # type: ignore[no-untyped-call]
        with pytest.raises(RuntimeError, match="broken"):
            device.present()
        jax.config.update("jax_platforms", "cuda")  # type: ignore[no-untyped-call]
        with pytest.raises(DeviceError, match="broken"):
            device.present()
    finally:
        jax.config.update("jax_platforms", before)  # type: ignore[no-untyped-call]


def ended(error: Exception, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return the exit code of a command that fails."""
    monkeypatch.setattr("sys.argv", ["reprise"])

    @click.command()
    def fails() -> None:
        """Fail."""
        raise error

    with pytest.raises(SystemExit) as end:
        run_guarded(fails)
    return end.value.code


def test_run_guarded_reports_a_library_that_cannot_be_mapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ImportError("libx.so: failed to map segment from shared object")
    assert ended(error, monkeypatch) == MemoryLimitError.exit_code
    assert "failed to map segment" in capsys.readouterr().err
    with pytest.raises(ImportError, match="no module"):
        ended(ImportError("no module x"), monkeypatch)


def test_run_guarded_reports_memory_errors_without_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(MemoryError(), monkeypatch) == MemoryLimitError.exit_code
    assert "no more could be had" in capsys.readouterr().err

    def none(*_: object, **__: object) -> str:
        raise MemoryError

    monkeypatch.setattr("reprise.cli.main.Messages.text", none)
    assert ended(MemoryError(), monkeypatch) == MemoryLimitError.exit_code
    assert capsys.readouterr().err == "Error: Out of memory.\n"


def test_run_guarded_reports_refusals_without_a_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(OSError(errno.EFBIG, "File too large"), monkeypatch) == 7
    assert capsys.readouterr().err == "Error: The system refused: File too large.\n"


def test_loading_allows_everything_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = [(resource.RLIM_INFINITY, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limit[0])
    hook = memory._Loading()
    hook.find_spec("jax")
    limit[0] = (10**6, 10**6)
    hook.find_spec("json")
    with pytest.raises(MemoryLimitError):
        hook.find_spec("jax")


class Refusing(durable.Disk):
    """Refuses to make folders and files."""

    def make_folder(self, path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def write(self, path: Path, mode: object, *chunks: object) -> None:
        self.make_folder(path)


def test_write_errors_claim_nothing_of_what_was_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal() -> str:
        monkeypatch.setattr(durable, "disk", Refusing())
        with pytest.raises(WriteError) as refused:
            store.save(tmp_path, snapshot(8), IDENTITY)
        return refused.value.key

    assert refusal() == "write_refused_new"
    monkeypatch.setattr(durable, "disk", durable.Disk())
    store.save(tmp_path, snapshot(4), IDENTITY)
    assert refusal() == "write_refused"
    for new, key in ((True, "write_refused_new"), (False, "write_refused")):
        file = tmp_path / "file"
        if not new:
            file.touch()
        with pytest.raises(WriteError) as refused:
            durable.append_file(file, b"x")
        assert refused.value.key == key
