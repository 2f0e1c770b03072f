"""Plans of runs that do not exist: what they count, expect, refuse and print."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import pytest

from helpers.commands import check_refusal, reprise, small_config
from reprise.config.load import in_todays_names, read_preset
from reprise.data.dataset import open_dataset
from reprise.errors import DataError, MemoryLimitError
from reprise.models.registry import ModelShape
from reprise.planning import constants, measuring, sizes, stand_in, steps
from reprise.planning.constants import Constants
from reprise.planning.description import (
    Description,
    Interconnect,
    of_dataset,
    with_features,
)
from reprise.planning.plan import Step, sized, timed
from reprise.planning.program import Work
from reprise.planning.times import times_of
from reprise.training.estimate import size_of
from reprise.training.setup import arrays_of, initial_shapes, make_task
from step import flops

MEASURED = Constants(
    machine="a machine",
    shared=True,
    of="another step",
    devices=1,
    processes=1,
    flops=1e11,
    memory_rate=1e10,
    exchange_seconds=1e-4,
    exchange_rate=1e9,
    step_seconds=0.01,
    floor_seconds=0.002,
    user_seconds=1e-5,
    score_seconds=1e-9,
    row_seconds=1e-7,
)
SMALL = (
    "--users 10k --batch-size 16 --maxlen 6 --embedding-dim 16 --hidden-size 16 --negatives 16"
    " --model ComiRec-SA"
).split()


def described(**about: Any) -> Description:
    """A small run, with fields of the description and of its configuration."""
    placed = {
        name: about.pop(name)
        for name in ("devices", "processes", "interconnect", "features")
        if name in about
    }
    items, config = about.pop("items", 5000), small_config(**about)
    return Description(config, items, 10_000, 100_000, **placed)


def work_for(planned: Description) -> Work:
    return Step.of(planned).work


def plan(tmp_path: Path, *words: object) -> Any:
    """Run `reprise plan` by ready constants, and return the process."""
    path = tmp_path / "constants.json"
    if not path.exists():
        constants.write(path, MEASURED)
    return reprise("plan", *SMALL, "--constants", path, *words)


@pytest.mark.parametrize("model", ["ComiRec-DR", "ComiRec-SA", "MIND", "DNN", "GRU4REC"])
def test_work_of_counts_the_products_that_the_benchmark_counts_by_hand(model: str) -> None:
    shape = ModelShape(20, 64, 64, 4)
    planned = described(
        model=model,
        batch_size=128,
        maxlen=20,
        embedding_dim=64,
        hidden_size=64,
        num_interest=4,
        negatives=1280,
        items=100_000,
    )
    assert work_for(planned).flops == pytest.approx(flops(model, shape, 128, 1280), rel=0.005)


def test_work_of_one_device_is_shared_by_several() -> None:
    one, four = (work_for(described(devices=devices)) for devices in (1, 4))
    assert (one.exchanged, one.rounds) == (0, 0)
    assert four.rounds == 2  # the rows, and then the gradients
    assert four.flops < one.flops <= 4 * four.flops
    dense = work_for(described(optimizer="adam"))
    assert dense.moved > 5 * one.moved  # all rows


def test_on_device_counts_each_array_of_a_state() -> None:
    settings = in_todays_names(read_preset("modern")) | {"average_decay": 0.99}
    config = small_config(**settings | {"embedding_dim": 8, "hidden_size": 8, "maxlen": 6})
    config, features = with_features(config, ["category:9", "vector:5", "categories:7:2"], 50)
    planned = Description(config, 50, 1000, 10_000, features=features)
    real: Any = jax.tree.map(lambda one: jax.numpy.ones(one.shape, one.dtype), features)
    arrays = arrays_of(config, 50, real)
    held = sum(map(size_of, jax.tree.leaves((arrays, real))))
    counted = sizes.on_device(planned, sizes.shapes_of(planned))
    assert counted["total"] == held
    assert counted["items"] == 51 * 8 * 4
    assert counted["features"] == sum(map(size_of, jax.tree.leaves(real)))
    assert all(counted.values())


def test_smaller_batches_have_each_device_s_share() -> None:
    planned = described(devices=4, processes=2, batch_size=32)
    assert stand_in.smaller(planned, 2).batch_size == 8
    in_batch = described(sampler="in-batch", negatives=None, devices=4)
    assert stand_in.smaller(in_batch, 1).negatives == 4


def test_drawn_of_full_softmax_has_all_items_without_making_them() -> None:
    drawn = stand_in.drawn_of(described(sampler="full", items=1_000_000_000))
    assert drawn.batch.unique_rows.shape == (1_000_000_001,)
    assert drawn.batch.log_q_negatives.shape == (1_000_000_000,)


def test_times_of_what_was_measured_are_those_measured() -> None:
    planned = described()
    work = work_for(planned)
    known = replace(
        MEASURED,
        of=measuring.named(planned),
        floor_seconds=measuring.floor(work, MEASURED.flops, MEASURED.memory_rate),
    )
    times = times_of(planned, work, known)
    assert times.step == pytest.approx(known.step_seconds)
    assert times.exchange == 0
    assert times.extrapolated == ()
    users, rows = 1000, 5000
    expected = users * (1e-5 + rows * 1e-9) + rows * 1e-7
    assert times.evaluation == pytest.approx(expected)
    evaluations = planned.config.max_steps // planned.config.test_iter
    total = planned.config.max_steps * times.step + evaluations * times.evaluation
    assert times.training == pytest.approx(total)


def test_times_of_hosts_add_messages_and_bytes_of_a_ring() -> None:
    over = Interconnect(rate=1e8, latency=1e-3)
    planned = described(processes=4, interconnect=over)
    work = work_for(planned)
    times = times_of(planned, work, MEASURED)
    floor = measuring.floor(work, MEASURED.flops, MEASURED.memory_rate)
    ring = 2 * 3 / 4 * work.exchanged / 1e8
    exchange = 2 * work.rounds * math.log2(4) * 1e-3 + ring
    assert times.exchange == pytest.approx(exchange, rel=1e-3)
    assert times.step == pytest.approx(exchange + floor * 0.01 / 0.002, rel=1e-3)
    assert set(times.extrapolated) == {"interconnect", "constants"}


def test_times_of_devices_that_share_a_machine_do_not_halve() -> None:
    one, four, processes = (
        times_of(planned, work_for(planned), MEASURED)
        for planned in (described(), described(devices=4), described(processes=8))
    )
    assert four.step > 0.5 * one.step
    assert "devices" in four.extrapolated
    assert "processes" in processes.extrapolated
    own = times_of(
        described(devices=4), work_for(described(devices=4)), replace(MEASURED, shared=False)
    )
    assert own.step < one.step


def test_timed_facts_are_rates_of_the_step() -> None:
    planned = described()
    facts = timed(planned, work_for(planned), MEASURED)
    assert facts["steps_per_second"] == pytest.approx(1 / facts["seconds"]["step"])
    assert facts["users_per_second"] == pytest.approx(16 * facts["steps_per_second"])


def test_plan_prints_json_by_ready_constants(tmp_path: Path) -> None:
    done = plan(tmp_path, "--items", "1e9", "--devices", 4, "--num-processes", 2, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["items"], facts["interactions"]) == (10**9, 100_000)
    assert (facts["devices"], facts["processes"]) == (8, 2)
    device, process = facts["bytes"]["device"], facts["bytes"]["process"]
    assert device["items"] == 125_000_001 * 16 * 4  # ceil((1e9 + 1) / 8) rows
    assert device["total"] == sum(size for part, size in device.items() if part != "total")
    assert process == {part: 4 * size for part, size in device.items()}
    assert facts["bytes"]["checkpoint"]["arrays"] > (10**9 + 1) * (3 * 16 + 1) * 4
    assert facts["traffic"]["summed"] <= facts["traffic"]["at_most"]
    assert facts["memory"]["limit"] is None
    assert facts["constants"] == asdict(MEASURED)
    assert facts["extrapolated"] == ["devices", "processes", "constants"]


def test_plan_prints_every_fact_for_people(tmp_path: Path) -> None:
    done = plan(tmp_path, "--items", "1M", "--devices", 2, "--max-memory", "64GB")
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("1,000,000 items", "item embeddings", "64.0 GB", "2 round(s)", "steps/s"):
        assert part in done.stdout
    assert "Extrapolated" in done.stdout


def test_plan_refuses_what_does_not_fit(tmp_path: Path) -> None:
    done = plan(tmp_path, "--items", "40M", "--max-memory", "6GB")
    check_refusal(done, 8, "--max-memory allows 6.00 GB", "devices in", "--embedding-dim")


def test_sized_says_what_would_fit() -> None:
    planned = described(items=40_000_000, embedding_dim=16, hidden_size=16)
    step = Step.of(planned)
    temporary = sizes.temporary(planned, step.arrays, step.drawn.batch)

    def needed(one: Description) -> int:
        return sizes.memory(one, sizes.shapes_of(one), temporary, copies=False)

    for limit in (3 * 10**9, 6 * 10**9):
        with pytest.raises(MemoryLimitError) as refused:
            sized(planned, step, limit)
        would = refused.value.values["advice"].values
        fewer, dim = would["processes"] // 2, would["dim"]  # of a batch of 16
        assert needed(planned.on(1, would["processes"])) <= limit < needed(planned.on(1, fewer))
        assert needed(sizes.with_dimension(planned, dim)) <= limit
        assert needed(sizes.with_dimension(planned, dim + 1)) > limit
    with pytest.raises(MemoryLimitError, match="Neither more processes"):
        sized(planned, step, 10**8)


def test_sized_leaves_the_copy_out_that_there_is_no_room_for() -> None:
    planned = described(items=40_000_000, embedding_dim=16, hidden_size=16)
    step = Step.of(planned)
    with_copy, state = sized(planned, step)["memory"], step.arrays.rows.size * 4
    assert with_copy["copied"]
    least = with_copy["process"]
    assert sized(planned, step, least)["memory"]["copied"]
    without = sized(planned, step, least - 1)["memory"]
    assert not without["copied"]
    assert state < least - without["process"] < 1.1 * state


def test_plan_says_that_training_waits_for_its_checkpoints(tmp_path: Path) -> None:
    words = ("--items", "1M", "--devices", 2, "--max-memory", "0.8GB")
    done = plan(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no room for a copy" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--items", "1e"), 2, "--items = '1e' is invalid"),
        ((), 2, "Missing: --items"),
        (("--items", 9, "--dataset", "x"), 2, "--dataset, --items"),
        (("--items", 9, "--devices", 3), 2, "multiple of 3"),
        (("--items", 9, "--num-processes", 0), 2, "--num-processes = 0"),
        (("--items", 9, "--latency", "5us"), 2, "Missing: --interconnect"),
        (("--items", 9, "--features", "vector"), 2, "vector:WIDTH"),
        (("--items", 9, "--item-features", "brand"), 2, "Missing: --features"),
        (("--items", 9, "--sampler", "full", "--devices", 2), 2, "several devices"),
        (("--items", 9, "--model", "MostPop"), 2, "MostPop is not trained"),
    ],
)
def test_plan_refuses_what_is_no_run(
    words: tuple[object, ...], code: int, said: str, tmp_path: Path
) -> None:
    check_refusal(plan(tmp_path, *words), code, said)


def test_plan_of_a_dataset_takes_its_numbers(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "constants.json"
    constants.write(path, MEASURED)
    words = ("--dataset", "small", "--data-dir", small_data, "--constants", path, "--json")
    done = reprise("plan", *SMALL[2:], *words)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["items"], facts["users"]) == (40, 100)


def test_of_dataset_counts_what_its_task_holds(small_data: Path) -> None:
    config = small_config(item_features="all", id_dropout=0.1)
    planned = of_dataset(config, small_data)
    task = make_task(config, open_dataset(small_data / "small"))
    held = sum(map(size_of, jax.tree.leaves((initial_shapes(task), task.features))))
    assert sizes.on_device(planned, sizes.shapes_of(planned))["total"] == held
    drawn = stand_in.drawn_of(planned)
    assert drawn.most_rows == task.sampler.most_rows
    assert len(drawn.batch.unique_rows) == len(task.sampler.batch(0, 1).unique_rows)
    assert work_for(planned).flops > 0


def test_plan_prints_any_numbers(tmp_path: Path) -> None:
    done = plan(tmp_path, "--items", 1, "--users", 1, "--interactions", 1)
    assert (done.returncode, done.stderr) == (0, "")
    done = plan(tmp_path, "--items", "2e9", "--users", "1e15")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"evaluations: [\d,]+ d", done.stdout)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no constants"),
        ('{"format": 2}', "holds no constants"),
        (json.dumps({"format": 1, **asdict(MEASURED), "flops": 0}), "flops is missing or no"),
        (json.dumps({"format": 1, **asdict(MEASURED), "devices": 1.5}), "devices is missing or no"),
    ],
)
def test_constants_refuse_a_file_that_holds_others(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "constants.json"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        constants.read(path)


def test_plan_measures_once_and_keeps_the_constants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_SECONDS", 0.0)
    for name, small in (("_SIDE", 64), ("_ELEMENTS", 10_000), ("_SEARCHED", 500)):
        monkeypatch.setattr(measuring, name, small)
    path = tmp_path / "new" / "constants.json"
    words = ("plan", *SMALL, "--items", 2000, "--constants", path, "--json")
    first, second = reprise(*words), reprise(*words)
    assert first.returncode == 0, first.stderr
    assert "Measuring" in first.stderr
    assert second.stderr == ""
    facts = [json.loads(done.stdout) for done in (first, second)]
    assert facts[0] == facts[1]
    known = constants.read(path)
    assert (known.devices, known.processes) == (1, 1)
    assert facts[0]["extrapolated"] == []
    assert facts[0]["seconds"]["step"] == pytest.approx(known.step_seconds, rel=0.02)


def test_sized_memory_is_what_training_states() -> None:
    planned = described()
    step = Step.of(planned)
    facts = sized(planned, step)
    temporary = sizes.temporary(planned, step.arrays, step.drawn.batch)
    assert temporary > 0
    assert facts["memory"]["process"] == sizes.memory(planned, step.arrays, temporary)
    shared = sized(described(processes=4), Step.of(described(processes=4)))
    assert shared["memory"]["process"] < facts["memory"]["process"]
