"""`reprise report`: an HTML report of one run, or of several runs side by side."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    data_option,
    lambda_option,
    numbers_of,
    runs_option,
)
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language, unsaid

_FILE = "report.html"


@click.command(cls=Command)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("--output", type=PATH)
@click.option("--no-evaluation", is_flag=True)
@click.option("--split", type=click.Choice(["valid", "test"]), default="test")
@lambda_option
@runs_option
@data_option
@common_options
def report(
    runs: tuple[Path, ...],
    output: Path | None,
    no_evaluation: bool,
    split: Any,
    coefs: tuple[str, ...],
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
) -> None:
    """Write one self-contained HTML file: training curves, health of the interests, the best
    model's metrics by groups of users and items, settings, and history.
    """
    end_at_once_on_interrupt()
    from reprise import durable
    from reprise.report.facts import read_runs
    from reprise.report.measuring import LAMBDAS, measure_run, measured_before
    from reprise.report.page import render
    from reprise.runs.beside import stored_beside
    from reprise.runs.evaluation import lambdas_asked
    from reprise.runs.folder import RunFolder
    from reprise.runs.manage.apart import apart
    from reprise.runs.manage.survey import path_of
    from reprise.runs.where import locator
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    chosen = lambdas_asked(numbers_of("lambda", coefs)) if coefs else LAMBDAS
    found = read_runs([path_of(run, runs_dir) for run in runs], say)
    for warning in apart([run.identity for run in found]):
        say(warning)
    if output is None:
        output = found[0].path / _FILE if len(found) == 1 else Path(_FILE)
    if output.is_dir():
        raise UsageError("page_is_folder", path=output)
    if not output.parent.is_dir():
        raise UsageError("page_no_folder", path=output)
    if no_evaluation:
        known = [measured_before(run, split, unsaid) for run in found]
        measured = known if any(one.facts for one in known) else None
    else:
        measured = [
            measure_run(run, locator(run.path, data_dir), split, chosen, say) for run in found
        ]
    beside = stored_beside([RunFolder(run.path) for run in found], split)
    page = render(found, measured, split, messages, beside)
    durable.replace_file(output, page.encode())
    click.echo(messages.text("page_written", path=output))
