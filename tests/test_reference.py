"""docs/commands.md: up to date, with every option, its help and its default."""

import dataclasses
import re
import resource
import subprocess
import sys
from typing import Any

import click
import pytest

from helpers.commands import ENVIRONMENT, ROOT
from reprise.cli.help import option_record
from reprise.cli.main import cli
from reprise.cli.options import run_options
from reprise.cli.reference import options, reference, walk
from reprise.config.schema import TrainConfig

COMMANDS = dict(walk(cli))
OPTIONS = [(path, option) for path, command in COMMANDS.items() for option in options(command)]
every_option = pytest.mark.parametrize(
    ("path", "option"), OPTIONS, ids=[f"{path} {option.opts[0]}" for path, option in OPTIONS]
)


def told(option: click.Option, path: str = "reprise") -> tuple[str, str]:
    """Return what an option's help says, and what it says in brackets at its end."""
    context = click.Context(click.Command(""), show_default=True)
    _, text = option_record(option, path.partition(" ")[2], "en", context)
    match = re.fullmatch(r"(.*?)\s*(\[[^]]*\])?", text, re.DOTALL)
    assert match is not None
    return match[1], match[2] or ""


def test_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == reference(cli), "docs/commands.md is stale: make docs"


def test_reference_page_has_every_command_and_option() -> None:
    page = reference(cli)
    for path, command in COMMANDS.items():
        section = page.partition(f"\n## `{path}`\n")[2].partition("\n## ")[0]
        assert section, path
        of_a_run = "options-of-a-run" in section
        for option in options(command):
            where = page if of_a_run else section
            assert f"`{', '.join(option.opts)}" in where, (path, option.opts)


@every_option
def test_reference_option_states_its_help_and_default(path: str, option: click.Option) -> None:
    text, bracket = told(option, path)
    assert text.endswith("."), text
    if option.is_flag:
        assert bracket == ""  # off
    else:
        assert bracket.startswith(("[default: ", "[required")), (path, option.opts, bracket)


def test_reference_defaults_of_a_run_are_true() -> None:
    fields = {item.name: item for item in dataclasses.fields(TrainConfig)}
    checked = set()
    for option in options(run_options(click.Command(""))):
        if option.name not in fields or option.name in ("dataset", "name"):
            continue
        said = told(option)[1].removeprefix("[default: ").rstrip("]").partition(",")[0]
        default: Any = fields[option.name].default
        if option.name == "negatives":
            assert said == "10 x batch size"
        elif isinstance(default, str):
            assert said == default
        elif isinstance(default, bool):
            assert said == ("on" if default else "")
        else:
            assert float(said) == float(default or 0), option.name
        checked.add(option.name)
    assert checked == set(fields) - {"dataset", "name"}


@pytest.mark.parametrize(("path", "command"), COMMANDS.items())
def test_usage_error_suggests_the_nearest_option(path: str, command: click.Command) -> None:
    option = max(options(command), key=lambda option: len(option.opts[0]))
    mistyped = option.opts[0][:-2] + option.opts[0][-1]  # a letter missing
    with pytest.raises(click.NoSuchOption) as caught:
        cli.main([*path.split()[1:], mistyped, "1"], standalone_mode=False)
    assert option.opts[0] in (caught.value.possibilities or ())
    assert option.opts[0] in caught.value.format_message()


def test_help_of_every_command_imports_nothing_heavy() -> None:
    asked = [path.split()[1:] for path in COMMANDS]
    code = (
        "import sys\n"
        "from reprise.cli.main import cli\n"
        f"for words in {asked}:\n"
        "    assert cli.main([*words, '--help'], standalone_mode=False) == 0\n"
        "heavy = {'jax', 'optuna', 'plotly', 'polars', 'rich', 'tensorboardX',"
        " 'tensorflow'}\n"
        "print(heavy & set(sys.modules))\n"
        "from reprise.text.messages import catalogue\n"
        "assert catalogue.cache_info().currsize == 1"  # English alone was read
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    # Of all commands together, and in seconds of work: the machine may be busy.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
