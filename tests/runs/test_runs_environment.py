"""Moved runs resume exactly; a changed environment is reported and recorded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.checkpoints import rewrite_state
from helpers.commands import run_small
from reprise.checkpoints import store
from reprise.runs.folder import RunFolder
from reprise.runs.manage.inspect import describe
from reprise.runtime import environment


def no_warning(key: str, **values: object) -> None:
    raise AssertionError(f"{key}: {values}")


def digest(folder: RunFolder) -> str:
    return str(describe(folder.path, "latest", no_warning)["state_digest"])


def test_environment_is_stored_in_every_checkpoint_and_in_run_json(
    small_data: Path, tmp_path: Path
) -> None:
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)
    now = environment.current()
    libraries = {"reprise", "jax", "jaxlib", "numpy"}
    machine = {"device", "instructions", "xla threads", "xla flags", "variables"}
    assert set(now) == libraries | machine
    for checkpoint in store.scan(folder.checkpoints, on_damage=lambda path, reason: None):
        assert checkpoint.environment == now
    assert json.loads(folder.record.read_text())["environment"] == now


@pytest.mark.parametrize("name", ["jax", "device", "instructions", "xla flags"])
def test_environment_change_is_reported_and_recorded_and_the_run_resumes(
    small_data: Path, tmp_path: Path, name: str
) -> None:
    _, _, folder = run_small(small_data, tmp_path, max_steps=8)

    def of_another(state: dict[str, Any]) -> dict[str, Any]:
        return state | {"environment": state["environment"] | {name: "another"}}

    for path in folder.checkpoints.glob("ckpt-*"):
        rewrite_state(path, of_another)
    outcome, recorder, _ = run_small(small_data, tmp_path, max_steps=12)
    assert outcome.progress.step == 12
    assert recorder.keys.count("environment_changed") == 1
    events = json.loads(folder.record.read_text())["events"]
    assert events[-1] == {
        "at": events[-1]["at"],
        "event": "environment changed",
        "changes": [f"{name}: another -> {environment.current()[name]}"],
        "step": 8,
    }
    _, recorder, _ = run_small(small_data, tmp_path, max_steps=16)
    assert "environment_changed" not in recorder.keys


def test_environment_unknown_is_not_a_change() -> None:
    assert environment.changes({}, environment.current()) == []
    assert environment.changes({"jax": "1"}, {"jax": "1", "new": "2"}) == []
    assert environment.changes({"gone": "1"}, {}) == ["gone: 1 -> -"]


def test_environment_tells_what_decides_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    for flags, told in (
        ("", "none"),
        ("--xla_cpu_max_isa=SSE4_2", "--xla_cpu_max_isa=SSE4_2"),
        ("--xla_dump_to=x  --b=1 --a=2", "--a=2 --b=1"),
    ):
        monkeypatch.setenv("XLA_FLAGS", flags)
        assert environment.current()["xla flags"] == told
    before = environment.current()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    changed = environment.changes(before, environment.current())
    assert changed == [f"variables: {before['variables']} -> OPENBLAS_CORETYPE=Haswell"]


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("model name\t: A\nflags\t\t: fpu fma sse4_2 avx2\n\nflags\t: x", "sse4_2 fma avx2"),
        ("Features\t: fp asimd sve i8mm\n", "asimd sve i8mm"),
        ("", "none"),
        (None, "none"),
    ],
)
def test_instructions_are_those_of_the_machine(
    cpuinfo: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read)
    assert (" ".join(environment._instructions()) or "none") == found


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_run_resumes_exactly_after_its_folder_moved(
    small_data: Path, tmp_path: Path, how: str
) -> None:
    """Moved or copied: the copy and the original are then two runs, each exact."""
    _, _, undisturbed = run_small(small_data, tmp_path / "undisturbed")
    _, _, folder = run_small(small_data, tmp_path / "here", max_steps=8)
    place = tmp_path / "else where" / "runs"
    if how == "moved":
        place.parent.mkdir()
        folder.path.parent.rename(place)
    else:
        shutil.copytree(folder.path.parent, place, copy_function=shutil.copyfile)
        assert digest(run_small(small_data, tmp_path / "here")[2]) == digest(undisturbed)
    _, recorder, moved = run_small(small_data, place)
    assert recorder.resumption is not None
    assert recorder.resumption.checkpoint.progress.step == 8
    assert digest(moved) == digest(undisturbed)
    assert moved.metrics.read_bytes() == undisturbed.metrics.read_bytes()
