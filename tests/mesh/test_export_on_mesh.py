"""Exports of models whose rows are dealt, against those of one device."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import RUN, check_refusal, reprise, run_small
from helpers.processes import Pair
from reprise.runs.folder import RunFolder
from reprise.runtime import mesh as meshes

pytestmark = pytest.mark.mesh


def check_same(folder: Path, expected: Path) -> None:
    """The folders hold the same, vectors up to rounding."""
    names = sorted(path.name for path in expected.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        own, other = ((one / name).read_bytes() for one in (folder, expected))
        if name == "manifest.json":
            manifests: list[dict[str, Any]] = [json.loads(one) for one in (own, other)]
            for manifest in manifests:
                assert set(manifest.pop("files")) == {*names} - {name}
            assert manifests[0] == manifests[1]
        elif name in ("items.npy", "interests.npy"):
            found, known = (np.load(one / name) for one in (folder, expected))
            assert found.dtype == known.dtype
            assert found == pytest.approx(known, rel=1e-5, abs=1e-6)
        else:
            assert own == other


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.1, "repeat_bias": True, "model": "Queries"},
        {"item_features": "all", "average_decay": 0.8},
        {"memory": "rules", "temperature": 0.2},
    ],
    ids=["rows", "cosines", "features", "memory"],
)
def test_export_of_four_devices_is_that_of_one(
    settings: dict[str, Any], small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meshes, "_AT_ONCE", 3)  # several blocks, of which the last is shorter
    _, _, folder = run_small(small_data, tmp_path, **settings)
    of_run = ("export", folder.path, "--data-dir", small_data, "--split", "test")
    for more in ((), ("--devices", 4)):
        done = reprise(*of_run, tmp_path / f"made{len(more)}", *more)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "Users: 20" in done.stdout
    check_same(tmp_path / "made2", tmp_path / "made0")
    if not settings:  # compared as they are stored
        items = [(tmp_path / f"made{n}" / "items.npy").read_bytes() for n in (0, 2)]
        assert items[0] == items[1]


@pytest.mark.parametrize(
    "settings", [{}, pytest.param({"memory": "rules", "temperature": 0.2}, marks=pytest.mark.long)]
)
def test_two_processes_export_what_one_does(
    settings: dict[str, Any], small_data: Path, tmp_path: Path
) -> None:
    _, _, folder = run_small(small_data, tmp_path, devices=4, **settings)
    runs = folder.path.parent
    alone = tmp_path / "alone"
    of_run = ("export", folder.path.name, "--split", "test")
    done = reprise(*of_run, alone, "--runs-dir", runs, "--data-dir", small_data)
    assert done.returncode == 0, done.stderr
    together = tmp_path / "together"
    (code, out, err), other = Pair(small_data, runs, together, command=of_run).ended()
    assert (code, err, other) == (0, "", (0, "", ""))
    assert out == done.stdout.replace(str(alone), str(together))
    check_same(together, alone)


def test_export_refuses_what_is_for_one_device(
    on_four: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    where = (on_four.path, tmp_path / "made", "--data-dir", small_data, "--devices", 2)
    check_refusal(reprise("export", *where, "--onnx"), 2, "--onnx", "--devices")
    check_refusal(reprise("export", *where, "--index", "faiss"), 2, "--index", "--devices")
    (tmp_path / "made").mkdir()
    check_refusal(reprise("export", *where), 2, "made")
    assert on_four.path.name == RUN
