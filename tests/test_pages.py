"""The documents: followed literally, and equal in both languages."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import pytest

from helpers.commands import ENVIRONMENT, ROOT, reprise
from helpers.machine import environment
from helpers.pages import DOCS, commands, fenced, samples
from reprise.cli.commands import comirec as comirec_line
from reprise.cli.main import cli
from reprise.cli.reference import options
from reprise.models.registry import REGISTRY
from reprise.runs.folder import RunFolder

STUDIES = sorted((ROOT / "benchmarks" / "studies").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *STUDIES]
GOLDEN = ROOT / "tests" / "golden.json"
TRANSLATED = sorted((DOCS / "zh").glob("*.md"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
IGNORED = shutil.ignore_patterns("__pycache__", "samples", "torture")


@pytest.mark.long
def test_add_a_model_page_followed_literally(demo_data: Path, tmp_path: Path) -> None:
    """In a copy of the source tree: the module, its line in the registry, and every command."""
    page = DOCS / "add-a-model.md"
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=IGNORED)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data").symlink_to(demo_data)

    text = page.read_text(encoding="utf-8")
    module, line = fenced(page, "python")
    written = re.findall(r"^Write `(\S+)`:$", text, re.MULTILINE)
    changed = re.findall(r"^In `(\S+)`, add a line to `(\w+)`:$", text, re.MULTILINE)
    ((path,), ((registry, table),)) = written, changed
    (tmp_path / path).write_text(module)
    before = (tmp_path / registry).read_text()
    head = f"{table} = {{\n"
    assert before.count(head) == 1
    (tmp_path / registry).write_text(before.replace(head, head + line))

    printed = [run(command, tmp_path) for command in commands(page)]
    trained, measured, tested = printed
    assert "step 40/40" in trained
    assert "Recall" in measured
    assert re.search(r"\d+ passed", tested) or "100%" in tested
    assert "Memory" not in before


def run(command: str, where: Path) -> str:
    """Run a command of a page in the tree at `where`, and return what it printed."""
    program, *arguments = shlex.split(command)
    environment = ENVIRONMENT | {"PYTHONPATH": f"{where}/src{os.pathsep}{where}/tests"}
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=where,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.users_bits
def test_readmes_are_short_and_their_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    (code,) = fenced(english, "python")
    assert fenced(chinese, "python") == [code]
    for page in (english, chinese):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 150
    monkeypatch.chdir(tmp_path)
    person = np.repeat(np.arange(400), 12)
    item = person % 10 * 20 + np.random.default_rng(7).integers(0, 20, len(person))
    clicks = {"user_id": person, "item_id": [f"sku-{n}" for n in item], "timestamp": person}
    pl.DataFrame(clicks).write_parquet("clicks.parquet")
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("step 1000/1000  loss ") for line in printed)
    listed = ast.literal_eval(printed[-2])
    assert set(listed) <= {f"sku-{n}" for n in range(20)}  # of the interest that was given
    assert float(printed[-1]) > 0.5


@pytest.mark.users_bits
@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.long)])
def test_sample_outputs_are_what_a_user_sees(
    language: str, demo_data: Path, tmp_path: Path
) -> None:
    """Digit by digit where the machine's bits are known, else to a hundredth."""
    pages = {
        "en": [ROOT / "README.md", DOCS / "quickstart.md"],
        "zh": [ROOT / "README.zh-CN.md", DOCS / "zh" / "quickstart.md"],
    }[language]
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data").symlink_to(demo_data)
    command = next(line for line in commands(pages[0]) if "--name first" in line)
    done = reprise(*shlex.split(command)[1:], cwd=tmp_path, REPRISE_LANG=language)
    known = {key.rpartition("; ")[0] for key in json.loads(GOLDEN.read_text())}
    exact = environment().rpartition("; ")[0] in known
    for page in pages:
        assert command in commands(page)
        (shown,) = samples(page, "reprise train --dataset demo")
        assert sum(line.startswith("step ") for line in shown) == 2
        printed = iter(done.stdout.splitlines())
        for line in shown:
            assert any(is_shown(line, other, exact) for other in printed), line


def is_shown(line: str, printed: str, exact: bool) -> bool:
    """Whether a page's line is the printed one, its fractions to a hundredth unless `exact`."""
    if exact or line == printed:
        return line == printed
    fraction = re.compile(r"\d+\.\d+")
    near = pytest.approx([float(one) for one in fraction.findall(printed)], rel=0.01)
    same = fraction.sub("", line) == fraction.sub("", printed)
    return same and [float(one) for one in fraction.findall(line)] == near


def test_readmes_name_the_same_commands() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    assert len(commands(english)) > 10
    assert commands(chinese) == commands(english)


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_pages_in_chinese_have_the_commands_and_names_of_the_english_ones(page: Path) -> None:
    """Its commands and code in order; its tables row by row, by the names that are code."""
    english = DOCS / page.name
    assert commands(page) == commands(english)
    for language in ("python", "text", "toml"):
        assert fenced(page, language) == fenced(english, language)
    assert named_in_tables(page) == named_in_tables(english)


def named_in_tables(page: Path) -> list[list[str]]:
    rows = re.findall(r"^\|.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [sorted(re.findall(r"`([^`]+)`", row)) for row in rows]


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.is_file(), target
        if anchor:
            assert anchor in {anchor_of(line) for line in headings(linked)}, target


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_page
def test_commands_in_the_documents_are_valid(page: Path) -> None:
    """It is parsed, not run: its options are there, and take such values."""
    for command in commands(page):
        words = shlex.split(command.removesuffix(" ..."))
        if "--help" in words or "[OPTIONS]" in words:
            continue
        if words[0] == "reprise":
            parse(cli, words[1:])
        elif words[:2] == ["python", "src/train.py"]:
            comirec_line.comirec.make_context("train.py", words[2:])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def parse(command: click.Command, words: list[str]) -> None:
    context = click.Context(command, **command.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context(command.name, words, parent=context)


def test_models_page_has_a_line_for_every_model() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\S+)` \|", text, re.MULTILINE)[1 : 1 + len(REGISTRY)] == list(
        REGISTRY
    )


def test_metrics_page_explains_every_metric(undisturbed: RunFolder) -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    logged = json.loads(undisturbed.metrics.read_text().splitlines()[-1])
    names = {key.removeprefix("valid_") for key in logged if key.startswith("valid_")}
    assert len(names) > 20
    for name in names:
        general = re.sub(r"@\d+$", "@n", re.sub(r"share_\d+", "share_k", name))
        assert f"`{general}`" in text, name


@pytest.mark.parametrize("page", [DOCS / "from-comirec.md", DOCS / "zh" / "from-comirec.md"])
def test_comirec_page_maps_every_flag(page: Path) -> None:
    named = {name for row in named_in_tables(page) for name in row}
    first = {name.split()[0] for name in named}
    assert {option.opts[0] for option in options(comirec_line.comirec)} <= first
