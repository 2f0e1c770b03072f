"""`reprise recommend`: the best items for a history, for a user, or for the histories of a file."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reprise.cli.help import Command
from reprise.cli.options import (
    PATH,
    common_options,
    data_option,
    device_options,
    print_json,
    runs_option,
    which_option,
)
from reprise.cli.worker import in_worker, refuse_on_mesh
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, Phrase, Say, choose_language, unsaid

if TYPE_CHECKING:
    from reprise.runtime.mesh import Mesh
    from reprise.serving.lists import Query
    from reprise.serving.recommender import Recommender


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.option("--history", metavar="IDS")
@click.option("--times", metavar="TIMES")
@click.option("--request-time", metavar="TIME")
@click.option("--user", metavar="ID")
@click.option("--histories", type=PATH, metavar="FILE")
@click.option("--output", type=PATH, metavar="FILE")
@click.option("--overwrite", is_flag=True)
@click.option("-n", "n", type=int, default=10)
@click.option("--diversity", type=float, default=0.0)
@click.option("--exclude", metavar="IDS")
@click.option("--allow", metavar="IDS")
@click.option("--categories", metavar="NAMES")
@click.option("--filter-seen", is_flag=True)
@click.option("--weights", metavar="NUMBERS")
@click.option("--explain", is_flag=True)
@which_option
@device_options
@runs_option
@data_option
@click.option("--json", "as_json", is_flag=True)
@common_options
def recommend(
    run: Path,
    history: str | None,
    times: str | None,
    request_time: str | None,
    user: str | None,
    histories: Path | None,
    output: Path | None,
    overwrite: bool,
    n: int,
    diversity: float,
    exclude: str | None,
    allow: str | None,
    categories: str | None,
    filter_seen: bool,
    weights: str | None,
    explain: bool,
    which: Any,
    devices: int,
    runs_dir: Path,
    data_dir: Path | None,
    as_json: bool,
    lang: str | None,
    **together: Any,
) -> None:
    """Recommend items by RUN's stored model."""
    end_at_once_on_interrupt()
    _check_subject(history, user, histories, output)
    if (times is not None and history is None) or (request_time is not None and output is not None):
        raise UsageError("recommend_times")
    if output is not None and as_json:
        raise UsageError("only_one", options="--json, --output")
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    place = in_worker(together, say)
    if devices != 1 or place is not None:
        given_one = {"--history": history is not None, "--user": user is not None}
        refuse_on_mesh({**given_one, "--explain": explain})
    from reprise.runtime.mesh import mesh_of
    from reprise.serving.batch import check_output, ids_in
    from reprise.serving.recommender import Recommender

    if output is not None and (place is None or not place.index):  # fail early
        check_output(output, overwrite)
    mesh = mesh_of(devices, place)
    leads = mesh is None or mesh.processes.leads
    say = say if leads else unsaid
    model = Recommender(_stored(run, which, runs_dir, data_dir, say, mesh))
    query = model.query(
        n=n,
        diversity=diversity,
        exclude=ids_in(exclude or ""),
        allow=None if allow is None else ids_in(allow),
        categories=None if categories is None else _names(categories),
        filter_seen=filter_seen,
        weights=None if weights is None else _numbers(weights),
        explain=explain,
    )
    if histories is not None and output is not None:
        _to_file(model, query, histories, output, messages, say, leads)
        if mesh is not None:
            mesh.processes.led(lambda: None)  # the one that writes has ended
    else:
        ids, own = ids_in(history or ""), None if times is None else ids_in(times)
        if user is not None:
            ids, own = _history_of(model, user)
        (asked,) = model.queries([ids], query, [own], request_time)
        _to_screen(model, asked, as_json, messages, say)


def _check_subject(
    history: str | None, user: str | None, histories: Path | None, output: Path | None
) -> None:
    """Raise UsageError unless lists are asked for one history or user, or for a file, to a file."""
    given = [one for one in (history, user, histories) if one is not None]
    if len(given) != 1 or (histories is None) != (output is None):
        raise UsageError("recommend_whom")


def _stored(
    run: Path, which: Any, runs_dir: Path, data_dir: Path | None, say: Say, mesh: "Mesh | None"
) -> Any:
    from reprise.runs import stored, stored_on_mesh
    from reprise.runs.manage.survey import path_of
    from reprise.runs.where import locator

    path = path_of(run, runs_dir)
    load = stored.load if mesh is None else partial(stored_on_mesh.load, mesh)
    return load(path, which, say, locator(path, data_dir))


def _to_file(
    model: "Recommender",
    query: "Query",
    histories: Path,
    output: Path,
    messages: Messages,
    say: Say,
    leads: bool,
) -> None:
    from reprise.serving.batch import open_histories, write_lists
    from reprise.serving.recommender import notes
    from reprise.show.recommend import shown_users

    source = open_histories(histories)
    if not leads:
        write_lists(model, source, query, output, writes=False)
        return
    with shown_users(messages, source.size) as progress:
        counts = write_lists(model, source, query, output, progress)
    for _, phrase in notes(counts, query):
        say("note_line", note=phrase)
    click.echo(messages.text("recommended", users=counts.histories, n=query.n, path=output))


def _to_screen(
    model: "Recommender",
    query: "Query",
    as_json: bool,
    messages: Messages,
    say: Say,
) -> None:
    from reprise.serving.lists import answer
    from reprise.serving.recommender import counts_of, notes
    from reprise.show.recommend import show_answer

    for _, phrase in notes(counts_of(model.model, [query]), query):
        say("note_line", note=phrase)
    (found,) = answer(model.model, [query])
    facts = model.catalogue.as_json(found)
    if as_json:
        print_json({"lists": [facts]})
    else:
        checkpoint = model.stored.checkpoint
        count = len(query.history)
        title = Phrase(
            "recommend_title",
            checkpoint=checkpoint.path,
            step=checkpoint.progress.step,
            items=count,
        )
        show_answer(facts, title, messages)


def _history_of(model: "Recommender", user: str) -> tuple[list[Any], list[int] | None]:
    """Return the raw ids of a user of the run's data set, their longest sequence, and when they
    were.
    """
    from reprise.data.moments import whole_seconds
    from reprise.serving.histories import user_of

    found = user_of(model.stored.dataset, user)
    times = None
    if model.model.retriever.reads_times and found.times is not None:
        times = whole_seconds(found.times).tolist()
    return [model.item_ids[number - 1] for number in found.items], times


def _names(text: str) -> list[str]:
    """Return names separated by commas, or of a JSON list."""
    from reprise.serving.batch import ids_in

    if text.lstrip().startswith("["):
        return ids_in(text)
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[Any]:
    """Return numbers separated by commas or blanks; what is none stays text, to be refused."""
    found: list[Any] = []
    for part in text.replace(",", " ").split():
        try:
            found.append(float(part))
        except ValueError:
            found.append(part)
    return found
