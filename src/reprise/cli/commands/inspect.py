"""`reprise inspect`: show the content of a checkpoint."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import PATH, common_options, print_json, runs_option
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("path", metavar="RUN_OR_CHECKPOINT", type=PATH)
@click.option("--which", type=click.Choice(["best", "latest"]), default="latest")
@runs_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def inspect(path: Path, which: Any, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """Show the content of a checkpoint, and whether it is intact."""
    end_at_once_on_interrupt()
    from reprise.runs.manage.inspect import describe, report_lines
    from reprise.runs.manage.survey import path_of
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    facts = describe(path_of(path, runs_dir), which, Voice(messages, to_stderr=True).say)
    if as_json:
        print_json(facts)
    else:
        click.echo("\n".join(report_lines(facts, messages)))
