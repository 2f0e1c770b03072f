"""`reprise baselines`: what counting reaches on a data set, beside its runs."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    common_options,
    parts,
    print_json,
    runs_option,
    sets_option,
    whole_numbers_of,
)
from reprise.config.schema import check_value
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("dataset")
@click.option("--split", type=click.Choice(["valid", "test"]), default="test")
@click.option("--cutoffs")
@click.option("--only", metavar="NAMES")
@runs_option
@sets_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def baselines(
    dataset: str,
    split: Any,
    cutoffs: str | None,
    only: str | None,
    runs_dir: Path,
    data_dir: Path,
    as_json: bool,
    lang: str | None,
) -> None:
    """Measure what counting reaches on DATASET, and show it beside its runs."""
    end_at_once_on_interrupt()
    check_value("dataset", dataset)
    from reprise.config.schema import SETTINGS, cutoffs_of
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import locate
    from reprise.runs.baselines import NAMES, measure_baselines
    from reprise.runs.baselines_kept import keep
    from reprise.runs.beside import runs_beside
    from reprise.runs.evaluation import cutoffs_asked
    from reprise.runs.manage.survey import folders
    from reprise.show.baselines import show_baselines
    from reprise.show.run import Voice
    from reprise.show.runs import Page

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    names = None if only is None else tuple(parts(only))
    asked = cutoffs_asked(None if cutoffs is None else whole_numbers_of("cutoffs", cutoffs))
    facts = measure_baselines(
        open_dataset(locate(data_dir, dataset)),
        split,
        asked or cutoffs_of(SETTINGS["top_n"].default),
        names,
        say,
        lambda name: say("baseline_done", name=name),
    )
    keep(runs_dir, facts, NAMES)
    facts["runs"] = runs_beside(folders(runs_dir), facts)
    if as_json:
        print_json(facts)
    else:
        show_baselines(facts, Page(messages), messages)
