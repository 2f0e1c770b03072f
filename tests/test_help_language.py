"""Help and usage errors of the commands in both languages."""

import ast
import gettext
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from rich.cells import cell_len

import reprise.cli
from helpers.commands import ENVIRONMENT, comirec
from helpers.commands import reprise as run
from reprise.cli.commands import comirec as comirec_line
from reprise.cli.help import command_help, option_key, option_record
from reprise.cli.main import cli
from reprise.errors import EXIT_CODES
from reprise.text.compiled import FILE, compiled
from reprise.text.messages import Language, Messages, catalogue

NAMES = re.compile(r"--[a-z][a-z-]*|`[^`]+`|<x>_\w+|\b[a-z]+\.\w+\b|\b[A-Z]{2,}\b")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
FIELD = r"[{(](\w+)[^{}()]*[)}]"
WORDS = catalogue("zh")["click"]  # Click's


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for below, own in command.commands.items():
            yield from walk(own, f"{path} {below}".strip())


EVERY = dict([*walk(cli, ""), *walk(comirec_line.comirec, "comirec")])
OPTIONS = [
    (path, option)
    for path, command in EVERY.items()
    for option in command.params
    if isinstance(option, click.Option) and option.help not in WORDS and not option.hidden
]


def helps(path: str, option: click.Option) -> tuple[str, str]:
    """Return the help of an option in English and in Chinese."""
    context = click.Context(click.Command(""), show_default=True)
    english, chinese = (option_record(option, path, language, context)[1] for language in LANGUAGES)
    return english, chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_of_every_command_and_option_is_complete(language: Language) -> None:
    tables = catalogue(language)
    assert set(tables["commands"]) == set(EVERY)
    found = {option_key(option, path, language) for path, option in OPTIONS}
    there = {(table, key) for table in ("options", "settings") for key in tables.get(table, {})}
    assert found - {None} == there
    for path, option in OPTIONS:  # else it is declared with a setting, in English
        declared = language == "en" and option.help
        assert declared or option_key(option, path, language), (path, option.opts)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        *sorted({helps(path, option) for path, option in OPTIONS}),
        *((command_help(path, "en"), command_help(path, "zh")) for path in EVERY),
        *(
            (f"{code} {Messages('en').text(key)}", f"{code} {Messages('zh').text(key)}")
            for code, key in EXIT_CODES.items()
        ),
    ],
)
def test_help_names_the_same_options_files_and_values_in_both_languages(
    english: str, chinese: str
) -> None:
    assert re.search(r"[一-鿿。]", chinese)
    aside = {"SIGTERM", "JSON", "TOML", "HTML", "CSV", "TSV", "TF"}
    assert {*NAMES.findall(english)} - aside == {*NAMES.findall(chinese)} - aside
    numbers = r"\d+(?:\.\d+)?"
    assert sorted(re.findall(numbers, english)) == sorted(re.findall(numbers, chinese))
    assert english.count(" | ") == chinese.count(" | ")
    assert "None" not in chinese  # no field was left empty


def test_help_translations_are_of_clicks_own_words() -> None:
    said = set()
    for path in Path(str(find_spec("click").origin)).parent.glob("*.py"):  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    assert set(WORDS) <= said
    for english, chinese in WORDS.items():
        known = set(re.findall(FIELD, english))
        one, several = [chinese, chinese] if isinstance(chinese, str) else chinese
        assert set(re.findall(FIELD, one)) == known
        # Of several, Click fills in {choices} where of one it fills in {choice}.
        assert {name[:6] for name in known} <= {name[:6] for name in re.findall(FIELD, several)}


def test_help_translations_are_compiled_for_gettext() -> None:
    assert FILE.read_bytes() == compiled(WORDS), "the file is stale: make docs"
    with FILE.open("rb") as file:
        chinese = gettext.GNUTranslations(file)
    for english, said in WORDS.items():
        one, several = [said, said] if isinstance(said, str) else said
        assert chinese.gettext(english) == one
        assert [chinese.ngettext(english, "", count) for count in (1, 2)] == [one, several]


def test_help_uses_only_public_parts_of_click() -> None:
    for path in Path(str(reprise.cli.__file__)).parent.rglob("*.py"):
        code = path.read_text()
        assert not re.search(r"click\.\w*\._|from click\._|click\._|setattr\(", code), path


def test_help_lines_that_are_not_wrapped_fit_a_terminal() -> None:
    texts = [command_help(path, language) for path in EVERY for language in LANGUAGES]
    kept = [part for text in texts for part in text.split("\n\n") if part.startswith("\b")]
    assert len(kept) > 20
    lines = {line for part in kept for line in part.splitlines()}
    assert [line for line in lines if cell_len(line) > 78] == []  # with two blanks before
    chinese = "\n\n".join(command_help(path, "zh") for path in EVERY)
    assert all(part in kept for part in chinese.split("\n\n") if "\n" in part)  # Click adds blanks


def test_help_in_chinese_fits_a_terminal_with_aligned_columns() -> None:
    for name in ("train", "prepare", "runs"):
        lines = run(name, "--help", "--lang", "zh", COLUMNS="80").stdout.splitlines()
        assert max(map(cell_len, lines)) <= 80
        options = [re.fullmatch(r"(  -.*?\S  +)\S.*", line) for line in lines]
        starts = {cell_len(option[1]) for option in options if option is not None}
        assert len(starts) == 1, starts


def test_help_and_usage_errors_are_in_the_requested_language(tmp_path: Path) -> None:
    shown = run("train", "--help", "--lang", "zh").stdout
    assert shown.startswith("用法: ")
    assert "从上次中断处继续" in shown
    assert "[默认: 0.001]" in shown
    assert "default" not in shown
    shown = run("prepare", "--help", REPRISE_LANG="zh").stdout
    assert shown.startswith("用法: python -m reprise prepare [选项] SOURCE")
    assert re.search(r"--name 文本 +数据集目录的名称。 +\[必填\]", shown)
    assert "[选项] [命令] [参数]..." in run("runs", "--help", REPRISE_LANG="zh").stdout
    assert "退出码" in run("--help", REPRISE_LANG="zh").stdout
    assert (
        "与 ComiRec 的 src/train.py 相同" in comirec("--help", "--lang", "zh", cwd=tmp_path).stdout
    )
    done = run("train", "--learning-rat", 3, REPRISE_LANG="zh")
    assert done.returncode == 2
    assert "错误: 没有选项 '--learning-rat'。" in done.stderr
    done = run("train", "--seed", "x", "--lang", "zh")
    assert done.returncode == 2
    assert "错误: '--seed' / '--random-seed' 的值无效: 'x' 不是有效的整数。" in done.stderr
    assert run("train", "--help").stdout.startswith("Usage: ")


def test_prompt_is_repeated_in_chinese() -> None:
    code = "from reprise.cli.help import use_language; use_language('zh'); import click"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; click.confirm('?')"],
        env=ENVIRONMENT,
        input="x\nn\n",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "错误: 输入无效" in done.stdout
