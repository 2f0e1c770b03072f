"""`reprise prepare`: convert a source in a known format to a dataset folder.

Runs find their data set here. The table readers are imported only if something must be prepared:
training on prepared data starts half a second sooner.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reprise import durable
from reprise.data import PROTOCOLS, TIES, texts
from reprise.data.dataset import stored_fingerprint
from reprise.data.readers import FORMATS
from reprise.data.readers.format import (
    NOTHING_ASKED,
    Asked,
    OnProgress,
    ignore_progress,
)
from reprise.data.readers.given import Given, Source
from reprise.errors import DataError, UsageError, WriteError
from reprise.runtime.memory import available_memory, bytes_of
from reprise.text.messages import Phrase, Say, unsaid

if TYPE_CHECKING:
    from reprise.data.build import More
    from reprise.data.draft import Draft
    from reprise.data.store import Store


_LEAST_MEMORY = 10**9

_LARGEST_CORE = 1_000_000


def locate(data_dir: Path, name: str, trained_on: str | None = None) -> Path:
    """Return the prepared folder of dataset `name`, preparing it on first use from a ComiRec
    folder `data_dir/<name>_data` (the original's place) or `data_dir/<name>`. DataError where these
    texts were replaced since, unless the folder has the fingerprint `trained_on`, of a run that
    goes on.
    """
    folder = _located(data_dir, name)
    if trained_on is None or stored_fingerprint(folder) != trained_on:
        texts.refuse_replaced(folder)
    return folder


def _located(data_dir: Path, name: str) -> Path:
    prepared = data_dir / name
    if not prepared.exists():
        durable.restore(prepared)
    if (prepared / "meta.json").is_file():
        return prepared
    for source, target in (
        (data_dir / f"{name}_data", prepared),
        (prepared, data_dir / f"{name}_prepared"),
    ):
        if (source / f"{name}_train.txt").is_file():
            if not (target / "meta.json").is_file():
                try:
                    publish(read_source(source, asked=Asked("comirec")), name, target)
                except (DataError, WriteError):
                    if not (target / "meta.json").is_file():  # no other run prepared it meanwhile
                        raise
            return target
    raise DataError("dataset_not_found", dataset=name, data_dir=data_dir)


def prepare(
    source: Source,
    name: str,
    data_dir: Path,
    protocol: str = PROTOCOLS[0],
    core: int | None = None,
    asked: Asked = NOTHING_ASKED,
    cut: Sequence[str] | None = None,
    on_progress: OnProgress = ignore_progress,
    overwrite: bool = False,
    max_memory: str | int | None = None,
    say: Say = unsaid,
    query: str | None = None,
    more: "More | None" = None,
) -> Path:
    """Turn `source` into the dataset folder `data_dir/name`, and return it; the arguments are those
    of `read_source`. A failed or interrupted preparation leaves under that name what was there.
    overwrite: whether that may be a dataset, which is replaced. max_memory: the bytes of memory
    that may be used ("8GB"), with the rows on disk; None: all is done in memory.
    """
    folder = data_dir / name
    durable.restore(folder)
    _refuse_existing(folder, overwrite)
    asks = source, protocol, core, asked, cut, on_progress
    if max_memory is None:
        draft = read_source(*asks, query=query, more=more)
        on_progress("write", 0, _num_items(draft))
        return publish(draft, name, folder, overwrite)
    memory = _memory_of(max_memory)

    def fill(target: Path) -> None:
        from reprise.data.draft import write_dataset
        from reprise.data.spill import Spill

        rows = target / ".rows"
        rows.mkdir()
        draft = read_source(*asks, Spill(rows, memory, say), query, more)
        on_progress("write", 0, _num_items(draft))
        write_dataset(draft, target, name)
        del draft  # which maps files there
        shutil.rmtree(rows)

    return _publish(fill, folder, overwrite)


def _num_items(draft: "Draft") -> int:
    return sum(len(split.items) for split in draft.splits.values())


def read_source(
    source: Source,
    protocol: str = PROTOCOLS[0],
    core: int | None = None,
    asked: Asked = NOTHING_ASKED,
    cut: Sequence[str] | None = None,
    on_progress: OnProgress = ignore_progress,
    store: "Store | None" = None,
    query: str | None = None,
    more: "More | None" = None,
) -> "Draft":
    """Read a source of one of FORMATS, or several that are read together, split by a protocol of
    PROTOCOLS; with `core`, of the `core`-core of its interactions; at the times of `cut`
    (`splits.cut_times`), where time-split is asked for. store: what holds its rows; None: memory.
    query: what a database, which the source is, gives the rows of. more: what else the dataset is
    to have; None: nothing.
    """
    from reprise.data import build
    from reprise.data.readers import database, recognise

    if query is not None:
        with database.queried(source, query, on_progress) as rows:
            draft = read_source(rows, protocol, core, asked, cut, on_progress, store, more=more)
        return replace(draft, source={**draft.source, "query": query})
    more = more or build.NO_MORE
    _refuse_bad_values(protocol, core, asked, cut, more)
    name, whole = _recognised(source, asked)
    split_reader = recognise.get_format(name).read_split
    if split_reader is not None:
        path = recognise.only_one(whole, name)
        recognise.refuse_unused(name, asked)
        if core is not None:
            raise UsageError("core_of_split", path=path)
        if protocol == "time-split":
            raise UsageError("no_times", path=path)
        if store is not None:
            raise UsageError("memory_of_split", path=path)
        for option, given in (("item-features", more.features), ("cold-items", more.cold_items)):
            if given is not None:
                raise UsageError("option_unused", option=option, layout=name, used=_not_split())
        remembered = {"texts": texts.facts_of(path)} if name == "comirec" else {}
        split = split_reader(path)
        draft = build.of_split(split, name, path, protocol)
        taken = {"taken": recognise.taken_of_split(whole, split)}
        return replace(draft, source={**draft.source, **taken, **remembered})
    found = recognise.read(whole, name, asked, on_progress, store)
    if protocol == "time-split" and not found.clocked:
        raise UsageError("no_times", path=whole.where)
    draft = build.of_interactions(found, whole.where, protocol, core, cut, on_progress, more)
    return replace(draft, source={**draft.source, "path": whole.called})


def _refuse_bad_values(
    protocol: str, core: int | None, asked: Asked, cut: Sequence[str] | None, more: "More"
) -> None:
    """Raise UsageError where a value is none that its option may have."""
    if core is not None and not 1 <= core <= _LARGEST_CORE:
        raise _bad_value("k-core", core, Phrase("good_whole_within", low=1, high=_LARGEST_CORE))
    if protocol not in PROTOCOLS:
        raise _bad_value("protocol", protocol, " | ".join(PROTOCOLS))
    if more.cold_items is not None and not 0 < more.cold_items < 1:
        raise _bad_value("cold-items", more.cold_items, Phrase("good_share"))
    if cut is not None and protocol != "time-split":
        raise _bad_value("cut", ",".join(cut), Phrase("good_cut_protocol"))
    if asked.min_rating is not None and not math.isfinite(asked.min_rating):
        raise _bad_value("min-rating", asked.min_rating, Phrase("good_number"))
    if asked.format_name is not None and asked.format_name not in FORMATS:
        raise _bad_value("format", asked.format_name, " | ".join(FORMATS))
    if asked.ties not in (None, *TIES):
        raise _bad_value("ties", asked.ties, " | ".join(TIES))


def _not_split() -> str:
    """Return the formats that are not split already, as an error lists them."""
    from reprise.data.readers.recognise import get_format

    return ", ".join(name for name in FORMATS if get_format(name).read_split is None)


def _memory_of(asked: str | int) -> int:
    """Return the bytes that a size means; UsageError where it is none, too small, or more than the
    machine has free.
    """
    memory = bytes_of(str(asked)) or 0
    if memory < _LEAST_MEMORY:
        raise _bad_value("max-memory", asked, Phrase("good_memory", least=_LEAST_MEMORY // 10**9))
    available = available_memory()
    if available is not None and memory > available:
        raise UsageError("memory_not_free", asked=asked, free=f"{available / 10**9:.1f}")
    return memory


def _bad_value(option: str, value: object, expected: str | Phrase) -> UsageError:
    return UsageError("bad_value", option=option, value=value, expected=expected)


def _recognised(source: Source, asked: Asked) -> tuple[str, Given]:
    """Return a source's format and what of it is read; DataError where that cannot be told."""
    from reprise.data.readers.recognise import recognised

    try:
        return recognised(source, asked)
    except PermissionError as error:
        path = error.filename
        raise DataError("unreadable", path=path, reason=error.strerror) from error


def _refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise DataError where a folder is there that is not to be replaced, or is no dataset."""
    if folder.exists() and not (overwrite and (folder / "meta.json").is_file()):
        raise DataError("dataset_exists", folder=folder)


def publish(draft: "Draft", name: str, folder: Path, overwrite: bool = False) -> Path:
    """Write `draft` as the dataset folder `folder`, all or nothing, in the place of one that is
    there where that may be; DataError where it exists.
    """
    from reprise.data.draft import write_dataset

    return _publish(lambda target: write_dataset(draft, target, name), folder, overwrite)


def _publish(write: Callable[[Path], None], folder: Path, overwrite: bool) -> Path:
    """Make the dataset folder `folder` of what `write` puts into one, as `publish` does."""
    _refuse_existing(folder, overwrite)

    def fill(target: Path) -> None:
        write(target)
        durable.sync_tree(target)

    durable.make_folder(folder.parent)
    (durable.replace_folder if overwrite else durable.publish_folder)(folder, fill)
    return folder
