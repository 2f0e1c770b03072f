"""`reprise evaluate`: evaluate a stored model, or another system's lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    data_option,
    lambda_option,
    numbers_of,
    parts,
    print_json,
    runs_option,
    which_option,
    whole_numbers_of,
)
from reprise.data import REQUEST_TIMES
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, Say, choose_language

if TYPE_CHECKING:
    from reprise.runs.evaluation import Measured
    from reprise.runs.stored import StoredModel

# Options that apply to a run's model only, not to another system's lists (--lists).
_OF_A_RUN = {
    "run": "RUN",
    "which": "--which",
    "coefs": "--lambda",
    "filter_seen": "--filter-seen",
    "request_time": "--request-time",
    "on": "--on",
}


@click.command(cls=Command)
@click.argument("run", type=PATH, required=False)
@click.option("--split", type=click.Choice(["valid", "test"]), default="test")
@which_option
@click.option("--cutoffs")
@click.option("--top-n", "--topN", "top_n", type=int)
@click.option("--metrics", metavar="NAMES")
@lambda_option
@click.option("--filter-seen", is_flag=True)
@click.option("--request-time", type=click.Choice(REQUEST_TIMES))
@click.option("--on", metavar="NAME")
@click.option("--lists", type=PATH, metavar="FILE")
@click.option("--dataset", metavar="NAME")
@runs_option
@data_option
@click.option("--json", "as_json", is_flag=True)
@common_options
@click.pass_context
def evaluate(
    context: click.Context,
    run: Path | None,
    split: Any,
    which: Any,
    cutoffs: str | None,
    top_n: int | None,
    metrics: str | None,
    coefs: tuple[str, ...],
    filter_seen: bool,
    request_time: str | None,
    on: str | None,
    lists: Path | None,
    dataset: str | None,
    runs_dir: Path,
    data_dir: Path | None,
    as_json: bool,
    lang: str | None,
) -> None:
    """Evaluate a run's stored model, or another system's lists, on the full catalogue."""
    end_at_once_on_interrupt()
    _check_subject(context)
    from reprise.runs import results
    from reprise.runs.evaluation import (
        asked_at,
        cutoffs_asked,
        evaluation_facts,
        lambdas_asked,
        metrics_asked,
        only,
        warn_of_whole_lists,
    )
    from reprise.show.evaluation import show_curve, show_evaluation
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    shown = metrics_asked(None if metrics is None else parts(metrics))
    numbers = None if cutoffs is None else whole_numbers_of("cutoffs", cutoffs)
    asked = cutoffs_asked(numbers, top_n)
    lambdas = lambdas_asked(numbers_of("lambda", coefs)) if coefs else (None,)
    if lists is not None and dataset is not None:
        found = [_of_lists(lists, dataset, split, asked, data_dir, say)]
    else:
        assert run is not None
        stored = asked_at(_stored(run, which, runs_dir, data_dir, say), request_time)
        found = _of_run(stored, on, split, lambdas, filter_seen, asked, data_dir, say)
    measured = found[0]
    warn_of_whole_lists(measured, say)
    points = [evaluation_facts(one, split, coef) for one, coef in zip(found, lambdas, strict=True)]
    if measured.checkpoint is not None:
        results.keep(measured.checkpoint, points, say)
    points = [only(facts, shown) for facts in points]
    absent = [one.name for one in shown if f"{one.name}@{measured.cutoffs[0]}" not in points[0]]
    if metrics is not None and absent:
        say("metrics_absent", metrics=", ".join(absent))
    if as_json:
        print_json({"curve": points} if points[1:] else points[0])
    elif points[1:]:
        show_curve(points, None if metrics is None else shown, messages)
    else:
        show_evaluation(points[0], messages)


def _stored(
    run: Path, which: Any, runs_dir: Path, data_dir: Path | None, say: Say
) -> "StoredModel":
    from reprise.runs.manage.survey import path_of
    from reprise.runs.stored import load
    from reprise.runs.where import locator

    path = path_of(run, runs_dir)
    return load(path, which, say, locator(path, data_dir))


def _of_run(
    stored: "StoredModel",
    on: str | None,
    split: Any,
    coefs: Sequence[float | None],
    filter_seen: bool,
    cutoffs: tuple[int, ...] | None,
    data_dir: Path | None,
    say: Say,
) -> "list[Measured]":
    """Evaluate a stored model on its own data set or on the data set `on`, by each lambda."""
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import locate
    from reprise.runs.evaluation import measure_each
    from reprise.runs.transfer import measure_each_on

    if on is None:
        return measure_each(stored, split, coefs, filter_seen, cutoffs)
    other = open_dataset(locate(data_dir or stored.dataset.folder.parent, on))
    return measure_each_on(stored, other, split, say, coefs, filter_seen, cutoffs)


def _of_lists(
    lists: Path,
    dataset: str,
    split: Any,
    cutoffs: tuple[int, ...] | None,
    data_dir: Path | None,
    say: Say,
) -> "Measured":
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import locate
    from reprise.runs.given import measure_lists
    from reprise.runs.where import DATA

    of = open_dataset(locate(data_dir or DATA, dataset))
    return measure_lists(lists, of, split, say, cutoffs)


def _check_subject(context: click.Context) -> None:
    """Raise UsageError unless a run is given, or lists with their data set."""
    given = {
        name
        for name in context.params
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if not given & {"run", "lists"} or ("lists" in given) != ("dataset" in given):
        raise UsageError("evaluate_what")
    if "lists" in given and (more := given & _OF_A_RUN.keys()):
        options = ", ".join(text for name, text in _OF_A_RUN.items() if name in more)
        raise UsageError("lists_alone", options=options)
