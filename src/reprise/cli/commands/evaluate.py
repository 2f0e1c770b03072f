"""`reprise evaluate`: a stored model, measured."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import common_options, data_option, print_json, runs_option, which_option
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["valid", "test"]), default="test")
@which_option
@click.option("--top-n", "--topN", "top_n", type=int)
@click.option("--lambda", "coef", type=float)
@click.option("--filter-seen", is_flag=True)
@runs_option
@data_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def evaluate(
    run: Path,
    split: Any,
    which: Any,
    top_n: int | None,
    coef: float | None,
    filter_seen: bool,
    runs_dir: Path,
    data_dir: Path | None,
    as_json: bool,
    lang: str | None,
) -> None:
    """Measure a run's stored model on the whole catalogue."""
    end_at_once_on_interrupt()
    from reprise.runs import results
    from reprise.runs.evaluation import evaluate_run, evaluation_facts
    from reprise.runs.manage.survey import path_of
    from reprise.runs.where import locator
    from reprise.show.evaluation import show_evaluation
    from reprise.show.run import Voice

    messages, path = Messages(choose_language(lang)), path_of(run, runs_dir)
    say = Voice(messages, to_stderr=True).say
    measured = evaluate_run(
        path,
        locator(path, data_dir),
        split,
        which,
        say,
        top_n,
        coef,
        filter_seen,
    )
    facts = evaluation_facts(measured, split, coef)
    results.keep(measured.checkpoint, [facts], say)
    if as_json:
        print_json(facts)
    else:
        show_evaluation(facts, messages)
