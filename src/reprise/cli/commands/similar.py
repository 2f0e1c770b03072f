"""`reprise similar`: the items whose vectors are closest to an item's."""

from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    data_option,
    print_json,
    runs_option,
    which_option,
)
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, choose_language


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.argument("item")
@click.option("-n", "n", type=int, default=10)
@which_option
@runs_option
@data_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def similar(
    run: Path,
    item: str,
    n: int,
    which: Any,
    runs_dir: Path,
    data_dir: Path | None,
    as_json: bool,
    lang: str | None,
) -> None:
    """List the items most similar to ITEM by RUN's stored model."""
    end_at_once_on_interrupt()
    from reprise.runs.manage.survey import path_of
    from reprise.runs.stored import load
    from reprise.runs.where import locator
    from reprise.serving.recommender import Recommender
    from reprise.show.recommend import show_similar
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    path = path_of(run, runs_dir)
    say = Voice(messages, to_stderr=True).say
    model = Recommender(load(path, which, say, locator(path, data_dir)))
    facts = model.similar_json(item, n)
    if as_json:
        print_json(facts)
    else:
        show_similar(facts, messages)
