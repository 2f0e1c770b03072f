"""The demonstration: train on synthetic data, kill the training half-way, resume it, compare."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from reprise.config.schema import TrainConfig
from reprise.data.prepare import publish
from reprise.data.synthetic import make_demo
from reprise.text.messages import Messages, choose_language

Text = Callable[..., str]  # Messages.text: a message by its key

STEPS, TEST_ITER, LEARNING_RATE = 4000, 250, 0.005
_BASELINES = ("popular", "rules", "knn", "ease")
PAGE = "http://127.0.0.1:8000"  # where `reprise serve` has it


def run_demo(folder: Path, lang: str | None) -> int:
    """Run the demonstration in `folder`, in place of an earlier one; return 0 if all is equal, and
    the exit code of a command that failed, which has said why.
    """
    try:
        return _run_demo(folder, lang)
    except subprocess.CalledProcessError as failed:
        code: int = failed.returncode
        return code if code > 0 else 128 - code


def _run_demo(folder: Path, lang: str | None) -> int:
    for made_before in [folder / "data" / "demo", *(folder / "runs").glob("demo_*")]:
        shutil.rmtree(made_before, ignore_errors=True)
    publish(make_demo(), "demo", folder / "data" / "demo")
    killed, undisturbed = _config("killed"), _config("undisturbed")
    single = _config("single", num_interest=1)
    popular = _config("popular", model="MostPop")

    text = Messages(choose_language(lang)).text

    _announce(text("demo_training", step=STEPS // 2))
    _train_and_kill(folder, killed, lang)
    before = _evaluations(folder, killed)[-1]
    _announce(text("demo_again"))
    restored = _measure(folder, killed, "latest")
    _train(folder, killed, lang)
    _announce(text("demo_undisturbed"))
    _train(folder, undisturbed, lang)
    _announce(text("demo_single"))
    _train(folder, single, lang)
    _announce(text("demo_popular"))
    _train(folder, popular, lang)

    _announce(text("demo_baselines"))
    unseen = {name: own["recall@50"] for name, own in _baselines(folder).items()}
    for label, config in (("demo_four", killed), ("demo_one", single)):
        unseen[text(label)] = _measure(folder, config, "best", "--filter-seen")["recall@50"]

    end = _evaluations(folder, killed)[-1]
    most_popular = _measure(folder, popular, "best")
    _show(
        text,
        {
            text("demo_before", step=before["step"]): before["valid_recall@50"],
            text("demo_after", step=restored["step"]): restored["recall@50"],
            text("demo_end", step=end["step"]): end["valid_recall@50"],
            "MostPopular": most_popular["recall@50"],
        },
        unseen,
        {
            text("demo_four"): _measure(folder, killed, "best")["interest_coverage@50"],
            text("demo_one"): _measure(folder, single, "best")["interest_coverage@50"],
            "MostPopular": most_popular["interest_coverage@50"],
        },
    )
    code = _compare_digests(text, folder, killed, undisturbed)
    page, *others = (shlex.join([*_program(), *words]) for words in next_commands(folder, killed))
    print(text("demo_page", command=page, url=PAGE))
    print(text("demo_next", commands="\n".join(f"  {command}" for command in others)))
    return code


def next_commands(folder: Path, killed: TrainConfig) -> list[list[str]]:
    """Return the arguments of the `reprise` commands to try after the demonstration; the first
    serves its page at PAGE.
    """
    data = ["--data-dir", str(folder / "data")]
    first = ["--dataset", "demo", *data, "--name", "first", "--learning-rate", str(LEARNING_RATE)]
    return [
        ["serve", str(_run(folder, killed)), *data],
        ["report", str(_run(folder, killed)), *data],
        ["train", *first, "--steps", "1000", "--test-iter", "500"],
        ["runs", "--runs-dir", str(folder / "runs")],
    ]


def _program() -> list[str]:
    """Return the words that start `reprise` in this shell."""
    if shutil.which("reprise"):
        return ["reprise"]
    as_module = Path(sys.argv[0]).name == "__main__.py"  # python -m reprise
    return [sys.executable, "-m", "reprise"] if as_module else [sys.argv[0]]


def _compare_digests(
    text: Text, folder: Path, killed: TrainConfig, undisturbed: TrainConfig
) -> int:
    resumed, whole = (
        _reprise("inspect", _run(folder, config), "--json")["state_digest"]
        for config in (killed, undisturbed)
    )
    print(text("demo_digests", resumed=resumed, undisturbed=whole))
    same = resumed == whole
    print(text("demo_equal") if same else text("demo_differs"))
    return 0 if same else 1


def _measure(folder: Path, config: TrainConfig, which: str, *more: str) -> dict[str, Any]:
    data = folder / "data"
    options = ["--data-dir", str(data), "--which", which, "--split", "valid", "--json", *more]
    return _reprise("evaluate", _run(folder, config), *options)


def _baselines(folder: Path) -> dict[str, dict[str, Any]]:
    where = ["--data-dir", folder / "data", "--runs-dir", folder / "runs"]
    only = ["--only", ",".join(_BASELINES), "--split", "valid"]
    answer: dict[str, Any] = _reprise("baselines", "demo", *where, *only, "--json")["baselines"]
    return answer


def _config(name: str, model: str = "ComiRec-DR", num_interest: int = 4) -> TrainConfig:
    return TrainConfig(
        dataset="demo",
        name=name,
        model=model,
        num_interest=num_interest,
        learning_rate=LEARNING_RATE,
        test_iter=TEST_ITER,
        max_steps=STEPS,
    )


def _run(folder: Path, config: TrainConfig) -> Path:
    return folder / "runs" / config.folder_name


def _command(folder: Path, config: TrainConfig, lang: str | None) -> list[str]:
    options = {
        "--dataset": config.dataset,
        "--name": config.name,
        "--model": config.model,
        "--num-interest": config.num_interest,
        "--learning-rate": config.learning_rate,
        "--steps": config.max_steps,
        "--test-iter": config.test_iter,
        "--data-dir": folder / "data",
        "--runs-dir": folder / "runs",
    } | ({"--lang": lang} if lang else {})
    return [
        sys.executable,
        "-m",
        "reprise",
        "train",
        *(str(part) for option in options.items() for part in option),
    ]


def _train(folder: Path, config: TrainConfig, lang: str | None) -> None:
    subprocess.run(_command(folder, config, lang), check=True)


def _train_and_kill(folder: Path, config: TrainConfig, lang: str | None) -> None:
    process = subprocess.Popen(_command(folder, config, lang))
    while process.poll() is None and len(_evaluations(folder, config)) < STEPS // TEST_ITER // 2:
        time.sleep(0.05)
    time.sleep(0.5)  # into the steps after the evaluation, where nothing is saved yet
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _evaluations(folder: Path, config: TrainConfig) -> list[dict[str, Any]]:
    path = _run(folder, config) / "metrics.jsonl"
    if not path.exists():
        return []
    return [
        json.loads(line)
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def _reprise(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "reprise", *map(str, arguments)]
    answer: dict[str, Any] = json.loads(subprocess.check_output(command))
    return answer


def _announce(what: str) -> None:
    print(f"\n=== {what} ===", flush=True)


def _show(
    text: Text, recall: dict[str, float], unseen: dict[str, float], coverage: dict[str, float]
) -> None:
    table = Table(title=text("demo_title"), title_justify="left")
    table.add_column("Recall@50")
    table.add_column("", justify="right")
    for name, value in recall.items():
        table.add_row(name, f"{value:.6f}")
    for head, found in (("demo_unseen", unseen), ("demo_served", coverage)):
        table.add_section()
        table.add_row(text(head), "", style="bold")
        for name, value in found.items():
            table.add_row(name, f"{value:.6f}")
    Console().print(table)
