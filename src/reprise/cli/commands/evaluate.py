"""`reprise evaluate`: evaluate a stored model, or another system's lists."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    data_option,
    device_options,
    lambda_option,
    numbers_of,
    parts,
    print_json,
    runs_option,
    which_option,
    whole_numbers_of,
)
from reprise.cli.worker import in_worker, refuse_on_mesh
from reprise.data import REQUEST_TIMES
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, Say, choose_language, unsaid

if TYPE_CHECKING:
    from reprise.evaluation.metrics import Metric
    from reprise.runtime.mesh import Mesh

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
@device_options
@runs_option
@data_option
@click.option("--json", "as_json", is_flag=True)
@common_options
@click.pass_context
def evaluate(
    context: click.Context,
    /,
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
    devices: int,
    runs_dir: Path,
    data_dir: Path | None,
    as_json: bool,
    lang: str | None,
    **together: Any,
) -> None:
    """Evaluate a run's stored model, or another system's lists, on the full catalogue."""
    end_at_once_on_interrupt()
    _check_subject(context)
    from reprise.runs.evaluation import cutoffs_asked, lambdas_asked, metrics_asked
    from reprise.runtime.mesh import mesh_of
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    place = in_worker(together, say)
    if devices != 1 or place is not None:
        refuse_on_mesh({"--on": on is not None, "--lists": lists is not None})
    shown = metrics_asked(None if metrics is None else parts(metrics))
    numbers = None if cutoffs is None else whole_numbers_of("cutoffs", cutoffs)
    asked = cutoffs_asked(numbers, top_n)
    lambdas = lambdas_asked(numbers_of("lambda", coefs)) if coefs else (None,)
    name = None
    if lists is not None and dataset is not None:
        found = {"": _of_lists(lists, dataset, split, asked, data_dir, say)}
    else:
        assert run is not None
        name, paths = _paths(run, runs_dir, lambdas)
        how = (which, lambdas, filter_seen, asked, request_time)
        mesh = mesh_of(devices, place)
        if mesh is not None and not mesh.processes.leads:
            say = unsaid
        ask = partial(_of_run, mesh, on, split, *how, data_dir, say)
        found = {short_name: ask(path) for short_name, path in paths.items()}
        if mesh is not None and not mesh.processes.leads:
            return
    _show(name, found, None if metrics is None else shown, messages, as_json, say)


def _paths(
    run: Path, runs_dir: Path, lambdas: Sequence[float | None]
) -> tuple[str | None, dict[str, Path]]:
    """Return the paths of the runs to evaluate by their names, and the name of their group, None
    of a single run or checkpoint.
    """
    from reprise.runs.folder import RunFolder
    from reprise.runs.manage.groups import paths_of
    from reprise.runs.manage.survey import short_name

    group, paths = paths_of(run, runs_dir)
    if group is None:
        return None, {"": paths[0]}
    named = {short_name(RunFolder(path)): path for path in paths}
    if len(lambdas) > 1:
        raise UsageError("group_one_lambda", name=group, names=", ".join(named))
    return group, named


def _show(
    group: str | None,
    found: dict[str, list[dict[str, Any]]],
    metrics: "Sequence[Metric] | None",
    messages: Messages,
    as_json: bool,
    say: Say,
) -> None:
    """Print the evaluations of a group's runs by name, or of a single model by lambda."""
    from reprise.evaluation.metrics import METRICS
    from reprise.runs.evaluated import group_facts
    from reprise.runs.evaluation import only
    from reprise.show.evaluation import show_curve, show_evaluation, show_group

    asked = METRICS if metrics is None else metrics
    shown = {name: [only(facts, asked) for facts in points] for name, points in found.items()}
    points = next(iter(shown.values()))
    cutoff = points[0]["cutoffs"][0]
    absent = [one.name for one in metrics or () if f"{one.name}@{cutoff}" not in points[0]]
    if absent:
        say("metrics_absent", metrics=", ".join(absent))
    if group is not None:
        facts = group_facts(group, {name: own[0] for name, own in shown.items()})
        print_json(facts) if as_json else show_group(facts, messages)
    elif as_json:
        print_json({"curve": points} if points[1:] else points[0])
    elif points[1:]:
        show_curve(points, metrics, messages)
    else:
        show_evaluation(points[0], messages)


def _of_run(
    mesh: "Mesh | None",
    on: str | None,
    split: Any,
    which: Any,
    coefs: Sequence[float | None],
    filter_seen: bool,
    cutoffs: tuple[int, ...] | None,
    request_time: str | None,
    data_dir: Path | None,
    say: Say,
    path: Path,
) -> list[dict[str, Any]]:
    """Evaluate a run's stored model on its own data set or on the data set `on`, by each lambda;
    mesh: the devices, None: there is one.
    """
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import locate
    from reprise.runs import stored, stored_on_mesh
    from reprise.runs.evaluated import evaluate_stored
    from reprise.runs.evaluation import asked_at
    from reprise.runs.where import locator

    load = stored.load if mesh is None else partial(stored_on_mesh.load, mesh)
    model = asked_at(load(path, which, say, locator(path, data_dir)), request_time)
    other = None
    if on is not None:
        other = open_dataset(locate(data_dir or model.dataset.folder.parent, on))
    keeps = mesh is None or mesh.processes.leads
    return evaluate_stored(model, split, coefs, filter_seen, cutoffs, say, other, keeps)


def _of_lists(
    lists: Path,
    dataset: str,
    split: Any,
    cutoffs: tuple[int, ...] | None,
    data_dir: Path | None,
    say: Say,
) -> list[dict[str, Any]]:
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import locate
    from reprise.runs.evaluation import evaluation_facts, warn_of_whole_lists
    from reprise.runs.given import measure_lists
    from reprise.runs.where import DATA

    of = open_dataset(locate(data_dir or DATA, dataset))
    measured = measure_lists(lists, of, split, say, cutoffs)
    warn_of_whole_lists(measured, say)
    return [evaluation_facts(measured, split, None)]


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
