"""The `reprise` command as a process: output, exit codes, and every bad input."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import pytest

from helpers.builders_data import Row, write_comirec
from helpers.commands import (
    ENVIRONMENT,
    QUICK,
    ROOT,
    RUN,
    check_refusal,
    inspect_json,
    reprise,
    reprise_command,
    train,
)
from reprise.cli.main import run_guarded
from reprise.data.dataset import SPLITS
from reprise.show.commandline import resume_command


def test_help_and_usage_errors_do_not_import_jax() -> None:
    code = (
        "import sys; sys.argv = ['reprise', *sys.argv[1:]]\n"
        "from reprise.cli.main import main\n"
        "try: main()\n"
        "finally: print(*(name in sys.modules for name in ('jax', 'polars', 'optuna')))"
    )
    for arguments in (
        *(["--help"], ["train", "--help"], ["train", "--model", "comirecdr"]),
        ["sweep", "--help"],
    ):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines()[-1] == "False False False", done.stderr
        assert time.monotonic() - began < 5  # generous: the machine may be busy


def test_reprise_prepares_trains_evaluates_and_inspects(small_data: Path, tmp_path: Path) -> None:
    done = train(small_data, tmp_path, "--steps", 10, own_process=True)
    assert done.returncode == 0, done.stderr
    assert f"Run: {tmp_path / RUN}" in done.stdout
    assert re.search(r"^step 10/10  loss \d", done.stdout, re.MULTILINE)

    facts = inspect_json(tmp_path / RUN)
    assert (facts["step"], facts["branch"], facts["whole"]) == (10, 0, True)
    rows = next(array for array in facts["arrays"] if array["name"] == "rows")
    assert rows == {"name": "rows", "shape": [41, 24], "dtype": "float32", "bytes": 41 * 24 * 4}
    text = reprise("inspect", tmp_path / RUN / "checkpoints" / "ckpt-10").stdout
    assert facts["state_digest"] in text

    lines = (tmp_path / RUN / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    for which, step in (("best", facts["best"]["step"]), ("latest", 10)):
        measured = reprise(
            "evaluate",
            tmp_path / RUN,
            "--data-dir",
            small_data,
            "--split",
            "valid",
            "--which",
            which,
            "--json",
            own_process=which == "best",
        )
        metrics = json.loads(measured.stdout)
        assert metrics["step"] == step
        line = next(line for line in logged if line["step"] == step)
        for name in ("recall@50", "ndcg@20", "ndcg_comirec@50", "hitrate@20"):
            assert metrics[name] == line[f"valid_{name}"]


def test_runs_are_found_by_name_in_the_runs_folder(small_data: Path, tmp_path: Path) -> None:
    train(small_data, tmp_path / "runs", "--steps", 5)
    named, by_path = (
        reprise("inspect", run, "--json", cwd=tmp_path) for run in ("t", tmp_path / "runs" / RUN)
    )
    assert json.loads(named.stdout)["state_digest"] == json.loads(by_path.stdout)["state_digest"]
    refused = reprise("evaluate", "tt", cwd=tmp_path, LC_ALL="C", own_process=True)
    check_refusal(refused, 6, "Did you mean 't'")


def test_leave_one_out_works_from_prepare_to_recall_at_10(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    items = iter(rng.integers(1, 41, 60 * 12).tolist())
    rows: dict[str, list[Row]] = {
        split: [(user, next(items), order) for user in users for order in range(2 + user % 10)]
        for split, users in zip(SPLITS, (range(40), range(40, 50), range(50, 60)), strict=True)
    }
    source, data = write_comirec(tmp_path / "source", rows), tmp_path / "data"
    arguments = ("prepare", source, "--name", "small", "--data-dir", data, "--protocol")
    check_refusal(reprise(*arguments, "loo"), 2, "protocol = 'loo'", "comirec | leave-one-out")
    check_refusal(reprise(*arguments, "loo", "--lang", "zh"), 2, "protocol = 'loo' 无效")
    done = reprise(*arguments, "leave-one-out")
    total = sum(map(len, rows.values()))
    assert f"60 users, 40 items, {total} interactions" in done.stdout, done.stderr

    done = train(data, tmp_path, "--steps", 5, "--top-n", 10)
    assert "30 training users" in done.stdout, done.stderr  # of seven items or more
    assert "Recall@10" in done.stdout
    (line,) = map(json.loads, (tmp_path / RUN / "metrics.jsonl").read_text().splitlines())
    assert 0 <= line["valid_ndcg@10"] <= line["valid_recall@10"]
    for options in ((), ("--filter-seen",)):
        measured = reprise("evaluate", tmp_path / RUN, "--data-dir", data, "--json", *options)
        facts = json.loads(measured.stdout)
        assert (facts["users"], facts["held_out"]) == (54, "last")  # of three items or more
        assert facts["cutoffs"] == [10, 20, 50]
        for n in facts["cutoffs"]:  # with one target
            assert facts[f"recall@{n}"] == facts[f"hitrate@{n}"]
            assert facts[f"mrr@{n}"] <= facts[f"ndcg@{n}"] <= facts[f"recall@{n}"]
        assert facts["ndcg@10"] > 0


def test_lambda_makes_lists_more_diverse(small_data: Path, tmp_path: Path) -> None:
    train(small_data, tmp_path, "--steps", 5)

    def evaluate(*options: object) -> subprocess.CompletedProcess[str]:
        return reprise("evaluate", tmp_path / RUN, "--data-dir", small_data, "--json", *options)

    plain, chosen = (json.loads(evaluate(*given).stdout) for given in ((), ("--lambda", 5)))
    assert chosen["diversity@20"] > plain["diversity@20"]
    for value in ("-1", "nan"):
        refused = evaluate("--lambda", value)
        assert refused.returncode == 2
        assert "lambda" in refused.stderr


def test_train_reports_a_finished_run(small_data: Path, tmp_path: Path) -> None:
    train(small_data, tmp_path, "--steps", 5)
    digest = inspect_json(tmp_path / RUN)["state_digest"]
    done = train(small_data, tmp_path, "--max-iter", 0.005)
    assert done.returncode == 0
    assert "Already finished at step 5 of 5" in done.stdout
    assert inspect_json(tmp_path / RUN)["state_digest"] == digest


def test_train_survives_a_closed_stdout(small_data: Path, tmp_path: Path) -> None:
    command = reprise_command(
        *("train", *QUICK, "--steps", 10),
        *("--data-dir", small_data, "--runs-dir", tmp_path),
    )
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 0
    assert inspect_json(tmp_path / RUN)["step"] == 10


def test_train_survives_a_terminal_that_lacks_characters(small_data: Path, tmp_path: Path) -> None:
    done = train(small_data, tmp_path, "--steps", 5, "--lang", "zh", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Recall@50" in done.stdout
    assert "💾" in (tmp_path / RUN / "train.log").read_text()


def test_train_reports_a_training_that_diverged(small_data: Path, tmp_path: Path) -> None:
    done = train(small_data, tmp_path, "--steps", 10, "--learning-rate", "1e30", "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "The training diverged" in done.stdout
    shown = reprise("runs", "show", "t", "--runs-dir", tmp_path, "--lang", "en")
    assert "The training diverged" in shown.stdout


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 5 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: allocating 5 GiB"),
        RuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating 5 bytes"),
    ],
)
def test_train_reports_out_of_memory_with_its_exit_code(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    with patch.object(sys, "argv", ["reprise"]), pytest.raises(SystemExit) as end:
        run_guarded(failing)
    assert end.value.code == 8
    assert str(error).partition("\n")[0] in capsys.readouterr().err


def test_train_prints_a_command_that_resumes_the_run() -> None:
    asked = ["train", "--resume-from", "best", "--name", "a b", "--resume_from=best"]
    assert resume_command("reprise", asked) == "reprise train --name 'a b'"


def test_train_prints_lines_apart_from_the_progress_line(small_data: Path, tmp_path: Path) -> None:
    command = reprise_command(
        *("train", *QUICK, "--steps", 10),
        *("--data-dir", small_data, "--runs-dir", tmp_path),
    )
    terminal, inside = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "160"}
    with subprocess.Popen(command, env=environment, stdout=inside, stderr=inside) as process:
        os.close(inside)
        shown = b""
        with suppress(OSError):  # the end of a terminal is an error
            while part := os.read(terminal, 4096):
                shown += part
        assert process.wait() == 0
    os.close(terminal)
    lines = [match.start() for match in re.finditer(rb"step (5|10)/10  loss", shown)]
    assert len(lines) == 2
    for start in lines:
        assert shown[:start].endswith((b"\n", b"\x1b[2K")), shown[start - 40 : start]
    assert b"step 5/10 50%  evaluating  loss " in shown
    assert "\x1b" not in (tmp_path / RUN / "train.log").read_text()


@pytest.fixture
def comirec_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    lines = [f"{user},{item},{item}" for user in range(3) for item in range(1, 7)]
    for split in ("train", "valid", "test"):
        (folder / f"x_{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_prepare_names_file_and_line_of_bad_data(comirec_folder: Path, tmp_path: Path) -> None:
    def prepare() -> Any:
        return reprise("prepare", comirec_folder, "--name", "x", "--data-dir", tmp_path / "data")

    train_file = comirec_folder / "x_train.txt"
    whole = train_file.read_text()
    train_file.write_text(whole.replace("1,3,3", "1;3;3"))
    check_refusal(prepare(), 3, f"{train_file}, line 9", "expected user,item,order", "'1;3;3'")
    train_file.write_text("")
    check_refusal(prepare(), 3, "train split is empty", str(train_file))
    train_file.write_text(whole + "4,9999999999,1\n")
    check_refusal(prepare(), 3, f"{train_file}, line 19", "item id 9999999999 is outside")
    train_file.write_text(whole)
    (comirec_folder / "x_item_map.txt").write_text("".join(f"r{n},{n}\n" for n in range(1, 6)))
    check_refusal(prepare(), 3, f"{train_file}, line 6", "item id 6 is outside the catalogue 1..5")
    assert not (tmp_path / "data" / "x").exists()
    check_refusal(reprise("prepare", tmp_path / "no", "--name", "x"), 3, "No such file or folder")


def test_reprise_refuses_bad_usage(small_data: Path, tmp_path: Path) -> None:
    check_refusal(train(small_data, tmp_path, "--model", "ComiRec-DS"), 2, "Did you mean")
    check_refusal(train(small_data, tmp_path, "--patienc", 3), 2, "--patience")
    check_refusal(reprise("trian"), 2, "train")
    check_refusal(train(small_data, tmp_path, "--batch-size", 0), 2, "--batch-size = 0")
    check_refusal(train(small_data, tmp_path, "--max-iter", "inf"), 2, "--max-iter = inf")
    check_refusal(train(small_data, tmp_path, "--top-n", 10**11), 2, "--top-n = 100000000000")
    odd = ["--model", "ComiRec-DR", "--hidden-size", 4]
    check_refusal(train(small_data, tmp_path, *odd), 2, "equal to --embedding-dim")
    check_refusal(train(small_data, tmp_path, "--batch-size", 100), 3, "60 training users")
    check_refusal(train(small_data, tmp_path, "--steps", 5, "--max-iter", 1), 2, "only one")
    check_refusal(train(tmp_path, tmp_path), 3, "Dataset 'small' not found")
    check_refusal(reprise("inspect", tmp_path / "none"), 6, "No run at")
    settings = tmp_path / "run.toml"
    settings.write_text("learning-rte = 0.1\n")
    check_refusal(
        train(small_data, tmp_path, "--config", settings),
        2,
        "Unknown configuration key 'learning_rte'. Did you mean 'learning_rate'?",
    )
    assert not list(tmp_path.glob("small_*"))


def test_train_flags_override_settings_from_toml(small_data: Path, tmp_path: Path) -> None:
    settings = tmp_path / "run.toml"
    settings.write_text("max-steps = 5\nlearning_rate = 0.25\nseed = 7\n")
    done = train(small_data, tmp_path, "--config", settings, "--learning-rate", 0.5)
    assert done.returncode == 0, done.stderr
    facts = inspect_json(tmp_path / RUN.replace("0.001", "0.5"))
    assert (facts["step"], facts["identity"]["seed"]) == (5, 7)


def test_reprise_runs_with_only_src_on_the_path(tmp_path: Path) -> None:
    """`python src/train.py` needs no installed package, only its libraries."""
    copy = tmp_path / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, str(copy / "train.py"), "--help"],
        env={name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--model_type" in done.stdout
