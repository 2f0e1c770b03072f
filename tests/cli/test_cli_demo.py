"""`reprise demo`: the commands that it prints at the end work."""

import shlex
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from helpers.commands import ROOT, reprise
from helpers.pages import commands
from helpers.servers import serving_process
from reprise.cli import demo
from reprise.cli.demo import PAGE, next_commands
from reprise.config.schema import TrainConfig


def test_demo_ends_with_commands_that_work(demo_data: Path, tmp_path: Path) -> None:
    folder = Path("demo")
    config = TrainConfig(
        dataset="demo",
        name="killed",
        max_steps=4,
        test_iter=2,
        embedding_dim=8,
        hidden_size=8,
        batch_size=16,
    )
    (tmp_path / "demo").mkdir()
    shutil.copytree(demo_data / "demo", tmp_path / "demo" / "data" / "demo")
    sizes = ("--embedding-dim 8 --hidden-size 8 --batch-size 16 --steps 4 --test-iter 2").split()
    of_runs = ("--data-dir", "demo/data", "--runs-dir", "demo/runs")
    trained = reprise(
        "train", "--dataset", "demo", "--name", "killed", *sizes, *of_runs, cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    serve, report, train, runs = next_commands(folder, config)
    with serving_process(*serve[1:], cwd=tmp_path) as (_, url):
        assert PAGE.rpartition(":")[0] == url.rpartition(":")[0]  # at a free port here
        about = httpx.get(f"{url}/v1/page").json()
        assert (about["users"], about["truth"]) == (500, True)
        assert "<title>Reprise</title>" in httpx.get(url).text
    for words, shown in ((report, "report.html"), (runs, "killed")):
        done = reprise(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
    assert shlex.join(["reprise", *train]) in commands(ROOT / "README.md")  # which is run


@pytest.mark.parametrize(
    ("on_path", "started_as", "program"),
    [
        ("/bin/reprise", "anything", ["reprise"]),
        (None, ".venv/bin/reprise", [".venv/bin/reprise"]),
        (None, "src/reprise/__main__.py", [sys.executable, "-m", "reprise"]),
    ],
)
def test_demo_names_its_program_as_it_was_started(
    on_path: str | None, started_as: str, program: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: on_path)
    monkeypatch.setattr(sys, "argv", [started_as, "demo"])
    assert demo._program() == program
