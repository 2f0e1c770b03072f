"""The help of the commands, and what is said of their wrong use, in Chinese."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from rich.cells import cell_len

from helpers.commands import comirec, reprise
from reprise.cli import comirec as comirec_line
from reprise.cli.main import cli
from reprise.text.messages_commands import CLICK, COMMANDS, EXIT_CODES
from reprise.text.messages_options import OPTIONS

OF_CLICK = {"Show this message and exit."}  # added to a command when it is asked for help
NAMES = re.compile(r"--[a-z][a-z-]*|`[^`]+`|<x>_\w+|\b[a-z]+\.\w+\b|\b[A-Z]{2,}\b")


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for below, own in command.commands.items():
            yield from walk(own, f"{name} {below}".strip())


EVERY = dict([*walk(cli, ""), *walk(comirec_line.main, "train.py")])


def helps() -> set[str]:
    return {
        parameter.help
        for command in EVERY.values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.help
    }


def test_every_command_and_option_has_its_help_in_chinese_and_no_other() -> None:
    assert set(COMMANDS) == set(EVERY)
    assert set(OPTIONS) - OF_CLICK == helps()


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        *OPTIONS.items(),
        *((str(command.help), COMMANDS.get(name, "")) for name, command in EVERY.items()),
        (str(cli.epilog), EXIT_CODES),
    ],
)
def test_both_name_the_same_options_files_and_values(english: str, chinese: str) -> None:
    assert re.search(r"[一-鿿]", chinese)
    aside = {"SIGTERM", "JSON", "TOML", "HTML", "CSV", "TSV", "TF"}
    assert {*NAMES.findall(english)} - aside == {*NAMES.findall(chinese)} - aside
    numbers = r"\d+(?:\.\d+)?"
    assert sorted(re.findall(numbers, english)) == sorted(re.findall(numbers, chinese))


def test_what_is_replaced_are_clicks_own_words() -> None:
    said = set()
    for path in Path(str(find_spec("click").origin)).parent.glob("*.py"):  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    assert set(CLICK) <= said
    for english, chinese in CLICK.items():
        fields = r"%?[{(]\w+[^{}()]*[)}]s?"
        assert sorted(re.findall(fields, english)) == sorted(re.findall(fields, chinese))


def test_lines_that_stay_as_they_are_fit_a_terminal() -> None:
    english = (str(command.help) for command in EVERY.values())
    kept = (part for text in english for part in inspect.cleandoc(text).split("\n\n"))
    every = [*(part for part in kept if "\b" in part), *COMMANDS.values(), EXIT_CODES]
    lines = {line for text in every for line in inspect.cleandoc(text).splitlines()}
    assert [line for line in lines if cell_len(line) > 78] == []  # with two blanks before


def test_chinese_help_fits_a_terminal_its_columns_in_line() -> None:
    for name in ("train", "prepare", "runs"):
        lines = reprise(name, "--help", "--lang", "zh", COLUMNS="80").stdout.splitlines()
        assert max(map(cell_len, lines)) <= 80
        options = [re.fullmatch(r"(  -.*?\S  +)\S.*", line) for line in lines]
        starts = {cell_len(option[1]) for option in options if option is not None}
        assert len(starts) == 1, starts


def test_help_and_mistakes_are_told_in_the_language_asked_for(tmp_path: Path) -> None:
    shown = reprise("train", "--help", "--lang", "zh").stdout
    assert shown.startswith("用法: ")
    assert "从实验所在之处继续" in shown
    assert "[默认: 0.001]" in shown
    assert "default" not in shown
    shown = reprise("prepare", "--help", REPRISE_LANG="zh").stdout
    assert shown.startswith("用法: python -m reprise prepare [选项] SOURCE")
    assert re.search(r"--name 文本 +数据集目录的名称。 +\[必填\]", shown)
    assert "[选项] [命令] [参数]..." in reprise("runs", "--help", REPRISE_LANG="zh").stdout
    assert "退出码" in reprise("--help", REPRISE_LANG="zh").stdout
    assert (
        "与 ComiRec 的 src/train.py 相同" in comirec("--help", "--lang", "zh", cwd=tmp_path).stdout
    )
    done = reprise("train", "--learning-rat", 3, REPRISE_LANG="zh")
    assert done.returncode == 2
    assert "错误: 没有选项 '--learning-rat'。" in done.stderr
    done = reprise("train", "--seed", "x", "--lang", "zh")
    assert done.returncode == 2
    assert "错误: '--seed' / '--random-seed' 的值无效: 'x' 不是有效的整数。" in done.stderr
    assert reprise("train", "--help").stdout.startswith("Usage: ")
