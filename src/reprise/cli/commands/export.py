"""`reprise export`: write a stored model's vectors for a vector index or a service."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
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
    runs_option,
    which_option,
)
from reprise.cli.worker import in_worker, refuse_on_mesh
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.text.messages import Messages, Phrase, choose_language, unsaid

if TYPE_CHECKING:
    from reprise.checkpoints.store import Checkpoint
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
@device_options
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
    devices: int,
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **more: Any,
) -> None:
    """Write the vectors of RUN's stored model into the new FOLDER."""
    end_at_once_on_interrupt()
    if split is not None and histories is not None:
        raise UsageError("only_one", options="--split, --histories")
    if as_evaluated and split not in ("valid", "test"):
        raise UsageError("evaluated_of_what")
    from reprise.show.run import Voice

    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    place = in_worker(more, say)
    if devices != 1 or place is not None:
        refuse_on_mesh({"--onnx": onnx, "--index": index_name is not None})
    writes = place is None or not place.index
    if writes and folder.exists():  # fail early; checked again when the folder is written
        raise UsageError("export_exists", folder=folder)
    from reprise.serving.export import follow, write

    extras = _extras(onnx, onnx_tolerance, index_name, more)
    extras.require()
    from reprise.runs import stored as whole
    from reprise.runs import stored_on_mesh
    from reprise.runs.manage.survey import path_of
    from reprise.runs.where import locator
    from reprise.runtime.mesh import mesh_of
    from reprise.serving.histories import users_of_file, users_of_split

    path, mesh = path_of(run, runs_dir), mesh_of(devices, place)
    leads = mesh is None or mesh.processes.leads
    say = say if leads else unsaid
    load = whole.load if mesh is None else partial(stored_on_mesh.load, mesh)
    stored = load(path, which, say, locator(path, data_dir))
    users = None
    if split is not None:
        users = users_of_split(stored.dataset, split, stored.config.maxlen, as_evaluated)
    elif histories is not None:
        users = users_of_file(histories, stored, say)
    if leads:
        made = write(stored, users, folder, extras, messages, say)
        _show(made, stored.checkpoint, folder, messages)
    else:
        follow(stored, users)
    if mesh is not None:
        mesh.processes.led(lambda: None)  # the one that writes has ended


def _show(made: "Exported", checkpoint: "Checkpoint", folder: Path, messages: Messages) -> None:
    """Print what was exported."""
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
