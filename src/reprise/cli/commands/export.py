"""`reprise export`: write a stored model's vectors for a vector index or a service."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reprise.cli.help import Command
from reprise.cli.options import PATH, common_options, data_option, runs_option, which_option
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, Phrase, choose_language

if TYPE_CHECKING:
    from reprise.serving.export import Exported, Extras


@click.command(cls=Command)
@click.argument("run", type=PATH)
@click.argument("folder", type=PATH)
@which_option
@click.option("--split", type=click.Choice(["train", "valid", "test", "all"]))
@click.option("--as-evaluated", is_flag=True)
@click.option("--histories", type=PATH, metavar="FILE")
@click.option("--onnx", is_flag=True)
@click.option("--onnx-tolerance", type=click.FloatRange(0, min_open=True), metavar="X")
@click.option("--index", "index_name", type=click.Choice(["faiss", "faiss:flat", "faiss:hnsw"]))
@click.option("--hnsw-m", type=click.IntRange(2, 512))
@click.option("--hnsw-ef-construction", type=click.IntRange(1, 10_000))
@click.option("--hnsw-ef-search", type=click.IntRange(1, 10_000))
@runs_option
@data_option
@common_options
def export(
    run: Path,
    folder: Path,
    which: Any,
    split: str | None,
    as_evaluated: bool,
    histories: Path | None,
    onnx: bool,
    onnx_tolerance: float | None,
    index_name: str | None,
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **hnsw: int | None,
) -> None:
    """Write the vectors of RUN's stored model into the new FOLDER."""
    end_at_once_on_interrupt()
    if split is not None and histories is not None:
        raise UsageError("only_one", options="--split, --histories")
    if as_evaluated and split not in ("valid", "test"):
        raise UsageError("evaluated_of_what")
    if folder.exists():  # fail early; checked again when the folder is written
        raise UsageError("export_exists", folder=folder)
    from reprise.serving.export import write

    extras = _extras(onnx, onnx_tolerance, index_name, hnsw)
    extras.require()
    from reprise.runs.manage.survey import path_of
    from reprise.runs.stored import load
    from reprise.runs.where import locator
    from reprise.serving.histories import users_of_file, users_of_split
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    path = path_of(run, runs_dir)
    stored = load(path, which, say, locator(path, data_dir))
    users = None
    if split is not None:
        users = users_of_split(stored.dataset, split, stored.config.maxlen, as_evaluated)
    elif histories is not None:
        users = users_of_file(histories, stored, say)
    made = write(stored, users, folder, extras, messages, say)
    checkpoint = stored.checkpoint
    click.echo(
        messages.text(
            "exported_items",
            checkpoint=checkpoint.path,
            step=checkpoint.progress.step,
            folder=folder,
            items=made.items,
            dim=made.dim,
        )
    )
    if made.users:
        click.echo(messages.text("exported_users", users=made.users, interests=made.interests))
    for line in _about_extras(made, messages):
        click.echo(line)


def _extras(
    onnx: bool, tolerance: float | None, index_name: str | None, hnsw: Mapping[str, int | None]
) -> "Extras":
    """Return what is asked for beside vectors; raise UsageError for options without effect."""
    from reprise.serving.export import Extras
    from reprise.serving.index import Kind
    from reprise.serving.tower import TOLERANCE

    given: dict[str, Any] = {
        name.removeprefix("hnsw_"): value for name, value in hnsw.items() if value is not None
    }
    if given and index_name != "faiss:hnsw":
        flag = f"--hnsw-{next(iter(given)).replace('_', '-')}"
        raise UsageError("option_needs", option=flag, needs="--index faiss:hnsw")
    if tolerance is not None and not onnx:
        raise UsageError("option_needs", option="--onnx-tolerance", needs="--onnx")
    kind = (index_name or "").partition(":")[2] or "flat"
    return Extras(
        (tolerance or TOLERANCE) if onnx else None,
        replace(Kind(kind), **given) if index_name else None,
    )


def _about_extras(made: "Exported", messages: Messages) -> Iterator[str]:
    """Yield a line on the user tower and one on the index, as far as they were written."""
    from reprise.serving.index import GOOD_RECALL

    if made.tower is not None:
        check = made.tower["check"]
        difference = f"{check['largest_difference']:.1e}"
        values = {"file": made.tower["file"], "histories": check["histories"]}
        yield messages.text("exported_onnx", **values, difference=difference)
    if made.index is not None:
        found = made.index["measured"]
        queries = {"test": "queries_test", "random": "queries_random"}[found["queries"]]
        yield messages.text(
            "exported_index", kind=made.index["kind"], **found | {"queries": Phrase(queries)}
        )
        if found["recall"] < GOOD_RECALL:
            yield messages.text("index_recall_low", recall=found["recall"], least=GOOD_RECALL)
