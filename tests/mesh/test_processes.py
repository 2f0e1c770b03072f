"""Runs in two processes: the same bits however they are stopped or killed; no part outlives
another.
"""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from helpers.builders_data import following
from helpers.commands import RUN, check_refusal, check_same_end, reprise, train
from helpers.processes import Pair, wait_until
from reprise.data.prepare import publish
from reprise.errors import PeersLostError
from reprise.runs import results
from reprise.runs.folder import RunFolder
from reprise.runtime.processes import Place, Processes, place_of

pytestmark = pytest.mark.mesh

LONG = ("--steps", 160, "--test-iter", 40)
MEMORY = ("--memory", "rules", "--temperature", 0.2)
FEATURES = ("--item-features", "all", "--id-dropout", 0.2)


def evaluations(folder: RunFolder) -> int:
    try:
        return len(folder.metrics.read_text().splitlines())
    except FileNotFoundError:
        return 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="workers are found by /proc")
@pytest.mark.parametrize(
    "more",
    [(), *(pytest.param(options, marks=pytest.mark.long) for options in (FEATURES, MEMORY))],
)
def test_two_processes_end_alike_however_they_are_stopped(
    more: tuple[object, ...], small_data: Path, tmp_path: Path
) -> None:
    options = (*LONG, *more)
    (code, out, err), other = Pair(small_data, tmp_path / "whole", *options).ended()
    assert (code, err) == (0, ""), err
    assert "step 160/160" in out
    assert other == (0, "", "")

    folder = RunFolder(tmp_path / "cut" / RUN)
    pair = Pair(small_data, tmp_path / "cut", *options)
    wait_until(lambda: evaluations(folder) == 1)
    pair.each[1].send_signal(signal.SIGTERM)
    assert [code for code, _, _ in pair.ended()] == [143, 143]

    pair = Pair(small_data, tmp_path / "cut", *options)
    wait_until(lambda: evaluations(folder) == 3)
    os.kill(pair.worker(0), signal.SIGKILL)
    (killed, _, _), (code, _, told) = pair.ended()
    assert (killed, code) == (137, PeersLostError.exit_code)
    assert told.startswith("Error: Another process of the run has ended")
    assert len(told.splitlines()) == 1

    assert [code for code, _, _ in Pair(small_data, tmp_path / "cut", *options).ended()] == [0, 0]
    check_same_end(folder, RunFolder(tmp_path / "whole" / RUN))


def test_evaluate_of_two_processes_finds_the_lists_of_one(
    on_four: RunFolder, small_data: Path
) -> None:
    asked = ("--filter-seen", "--json", "--cutoffs", 20, "--lambda", "0,0.1")
    of_run = ("evaluate", on_four.path.name, *asked)
    where = ("--data-dir", small_data, "--runs-dir", on_four.path.parent)
    alone = reprise(*of_run, *where, own_process=True)
    assert alone.returncode == 0, alone.stderr
    stored = results.read(on_four.path)
    pair = Pair(small_data, on_four.path.parent, command=of_run)
    assert pair.ended() == [(0, alone.stdout, ""), (0, "", "")]
    again = results.read(on_four.path)
    assert again.final == stored.final
    assert len(again.entries) == len(stored.entries)


@pytest.mark.long
def test_two_processes_fit_a_memory_that_one_process_finds_again(tmp_path: Path) -> None:
    """The model that they have trained evaluates alike in one process and in two."""
    publish(following(60), "small", tmp_path / "small")
    options = ("--steps", 40, "--test-iter", 40, *MEMORY)
    (code, out, err), other = Pair(tmp_path, tmp_path / "two", *options).ended()
    assert (code, err, other) == (0, "", (0, "", ""))
    assert "Memory: adds at most" in out
    folder = RunFolder(tmp_path / "two" / RUN)
    of_run = ("evaluate", RUN, "--filter-seen", "--json", "--cutoffs", 20)
    where = ("--data-dir", tmp_path, "--runs-dir", folder.path.parent)
    alone = reprise(*of_run, *where, own_process=True)
    assert alone.returncode == 0, alone.stderr
    pair = Pair(tmp_path, folder.path.parent, command=of_run)
    assert pair.ended() == [(0, alone.stdout, ""), (0, "", "")]


@pytest.mark.parametrize("option", [("--on", "small"), ("--lists", "x", "--dataset", "small")])
def test_evaluate_refuses_what_is_for_one_device(
    option: tuple[object, ...], on_four: RunFolder, small_data: Path
) -> None:
    run = () if option[0] == "--lists" else (on_four.path.name,)
    where = ("--data-dir", small_data, *([] if not run else ["--runs-dir", on_four.path.parent]))
    done = reprise("evaluate", *run, *option, "--devices", 2, *where)
    check_refusal(done, 2, str(option[0]), "--devices")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--process-id", 1), "--process-id needs `--coordinator"),
        (("--coordinator", "here", "--num-processes", 2, "--process-id", 0), "HOST:PORT"),
        (("--coordinator", "127.0.0.1:9"), "Missing: --num-processes"),
        (("--coordinator", "127.0.0.1:9", "--num-processes", 2), "Missing: --process-id"),
        (("--coordinator", "127.0.0.1:9", "--num-processes", 2, "--process-id", 2), "0 to 1"),
        (("--coordinator", "127.0.0.1:9", "--num-processes", 0, "--process-id", 0), ">= 1"),
    ],
)
def test_place_of_refuses_half_a_place(
    options: tuple[object, ...], said: str, small_data: Path, tmp_path: Path
) -> None:
    check_refusal(train(small_data, tmp_path, *options), 2, said)


def test_place_of_takes_what_jax_detects() -> None:
    assert place_of(None, None, None) is None
    assert place_of("auto", None, None) == Place("auto", None, None)
    assert place_of("host:12", 3, 2) == Place("host:12", 3, 2)


def test_new_run_is_not_named_by_several_processes(small_data: Path, tmp_path: Path) -> None:
    place = ("--coordinator", "127.0.0.1:9", "--num-processes", 2, "--process-id", 0)
    done = train(small_data, tmp_path, "--new", *place, own_process=True, REPRISE_WORKER=os.devnull)
    check_refusal(done, 2, "--new")


def test_led_hands_the_leaders_decision_to_all() -> None:
    told: dict[str, str] = {}

    class Client:
        def key_value_set(self, key: str, value: str) -> None:
            told[key] = value

        def blocking_key_value_get(self, key: str, timeout: int) -> str:
            return told[key]

    leader, other = (Processes(index, 2, Client()) for index in range(2))
    for value in ({"a": [1.5, None]}, 143):
        assert leader.led(partial(dict.get, {"it": value}, "it")) == value
        assert other.led(lambda: pytest.fail("it decides nothing")) == value
    assert Processes().led(lambda: 7) == 7
