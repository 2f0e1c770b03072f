"""Plans beside real runs on 1, 2 and 4 devices, and beside the compiled step."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from helpers.commands import run_small, small_config
from reprise.checkpoints.store import MANIFEST
from reprise.config.load import in_todays_names, read_preset
from reprise.config.model import model_of
from reprise.data.dataset import open_dataset
from reprise.planning import sizes, stand_in, steps
from reprise.planning.description import Description, of_dataset, with_features
from reprise.planning.measuring import trial_of
from reprise.planning.plan import Step
from reprise.planning.program import work_of
from reprise.planning.worker import stepped_together
from reprise.runtime.mesh import mesh_of
from reprise.training.on_mesh import placed, shapes_of
from reprise.training.optimizers import make_update
from reprise.training.schedules import schedule_of
from reprise.training.setup import arrays_of, initial_shapes, make_task, objective_of, step_of

pytestmark = pytest.mark.mesh

ITEMS = 40  # of the "small" data
MODERN = in_todays_names(read_preset("modern")) | {
    "embedding_dim": 8,
    "hidden_size": 8,
    "maxlen": 6,
    "targets": 2,
}


def sums_of(text: str) -> tuple[int, int]:
    """Return the bytes that a compiled program sums up over the devices, and in how many sums."""
    sums = [line for line in text.splitlines() if re.search(r" all-reduce(-start)?\(", line)]
    summed = 0
    for line in sums:
        shapes = line.partition("=")[2].partition(" all-reduce")[0]
        for shape in re.findall(r"[fsu]32\[([\d,]*)\]", shapes):
            summed += 4 * math.prod(map(int, filter(None, shape.split(","))))
    return summed, len(sums)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_sizes_of_a_plan_are_those_of_a_real_run(
    devices: int, small_data: Path, tmp_path: Path
) -> None:
    config = small_config(max_steps=4)
    planned = Description(config, ITEMS, 1000, 10_000, devices=devices)
    shapes = sizes.shapes_of(planned)

    mesh = mesh_of(devices)
    made: Any = jax.jit(lambda: arrays_of(config, ITEMS, mesh=mesh))()
    held = dict.fromkeys(range(devices), 0)
    for leaf in jax.tree.leaves(made):
        for shard in leaf.addressable_shards:
            held[shard.device.id] += shard.data.nbytes
    assert set(held.values()) == {sizes.on_device(planned, shapes)["total"]}

    *_, folder = run_small(small_data, tmp_path, devices=devices, max_steps=4)
    files = {path.name: path.stat().st_size for path in (folder.checkpoints / "ckpt-4").iterdir()}
    expected = sizes.checkpoint(planned, shapes)
    arrays = {name: size for name, size in files.items() if name.endswith(".npy")}
    assert sum(arrays.values()) == expected["arrays"]
    assert expected["written_by_process"] == expected["arrays"]
    described = files[MANIFEST] + files["state.json"]
    assert described == pytest.approx(expected["described"], abs=200)
    manifest = json.loads((folder.checkpoints / "ckpt-4" / MANIFEST).read_text())
    assert {*manifest["files"]} == {*files} - {MANIFEST}


@pytest.mark.parametrize("devices", [2, 4])
def test_features_of_a_plan_are_dealt_as_those_of_a_task(devices: int, small_data: Path) -> None:
    config = small_config(item_features="all")
    planned = of_dataset(config, small_data, devices=devices)
    task = make_task(config, open_dataset(small_data / "small"), mesh=mesh_of(devices))

    def shapes(features: Any) -> list[Any]:
        return [(one.shape, one.dtype) for one in jax.tree.leaves(features)]

    assert shapes(planned.dealt_features) == shapes(task.features)
    arrays = sizes.shapes_of(planned)
    assert shapes(arrays) == shapes(initial_shapes(task))
    drawn = stand_in.drawn_of(planned)
    assert sizes.temporary(planned, arrays, drawn.batch) > 0
    step: Any = task.step
    assert task.mesh is not None
    given = initial_shapes(task), placed(task.mesh, drawn.batch), make_update(0.1, 1), task.features
    summed, _ = sums_of(step.lower(*given).compile().as_text())
    assert summed == work_of(planned, arrays, drawn.batch).exchanged


def test_features_with_as_many_categories_are_dealt_as_real_ones_are() -> None:
    config, shapes = with_features(small_config(), ["categories:9:3"], ITEMS)
    counts = np.array([1] + [3] * ITEMS)
    for devices in (2, 3, 4):
        planned = Description(config, ITEMS, 9, 99, devices, features=shapes)
        real = replace(planned, bags=(counts,))
        assert planned.dealt_features == real.dealt_features


def test_checkpoint_of_processes_is_written_in_shares() -> None:
    """Of 41 rows, devices 0 to 3 have 11, 10, 10 and 10; process 0 also writes what is small."""
    planned = Description(small_config(), ITEMS, 1000, 10_000, devices=2, processes=2)
    expected = sizes.checkpoint(planned, sizes.shapes_of(planned))
    whole, own = expected["arrays"], expected["written_by_process"]
    rows = 20 * (3 * 8 + 1) * 4 + 2 * 2 * 128  # of the other process, with its files' headers
    assert whole - own == rows


# What XLA leaves out: the gradients of a memory's numbers [17] and of MIND's first routing weights
# [2, 6] are zero.
@pytest.mark.parametrize(
    ("settings", "zeros"), [({}, 0), (MODERN, 4 * 17), ({"model": "MIND", "optimizer": "adam"}, 48)]
)
def test_work_of_exchanges_what_the_compiled_step_exchanges(
    settings: dict[str, Any], zeros: int
) -> None:
    planned = Description(small_config(**settings), 400, 1000, 10_000, devices=4)
    config = planned.config
    arrays, drawn, work = Step.of(planned)
    mesh = mesh_of(4)
    assert mesh is not None
    step: Any = step_of(model_of(config), objective_of(config, 400), config, mesh)
    update = make_update(config.learning_rate, 1, schedule_of(config))
    given = shapes_of(mesh, arrays), placed(mesh, drawn.batch), update
    text = step.lower(*given).compile().as_text()
    summed, sums = sums_of(text)
    assert summed + zeros == work.exchanged
    assert sums == work.rounds


def test_trial_of_a_plan_is_what_this_machine_can_be() -> None:
    planned = Description(small_config(batch_size=64), 10**9, 1000, 10_000, 16, 2)
    tried = trial_of(planned)
    assert (tried.devices, tried.processes) == (2, 2)
    assert tried.config.batch_size == 8  # 2 of each device
    assert tried.items < 10**7


@pytest.mark.long
def test_stepped_measures_devices_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_SECONDS", 0.0)
    planned = Description(small_config(), ITEMS, 1000, 10_000, devices=2)
    for found in (
        steps.stepped(planned, mesh_of(2)),
        stepped_together(planned.on(1, 2)),
    ):
        assert all(value > 0 for value in found), found
