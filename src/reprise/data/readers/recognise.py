"""Layouts of sources: how each well-known one is recognised, and read into `Interactions`.

recbole    <x>.inter, and <x>.item beside it for categories and titles
movielens  ratings.dat with movies.dat, or ratings.csv with movies.csv
taobao     UserBehavior.csv: user, item, category, behaviour, time, without a header
sequences  a line a user: user, then his items, oldest first; or a line an interaction: user, item
table      one file or a folder of parts: CSV, TSV, Parquet or JSON lines (Amazon's reviews), and
           <x>_meta or meta_<x> beside them for categories and titles

A ComiRec folder is split already, and `prepare` reads it.

The rows of one file stand in its order, as those of parts named after splits do, train first. Any
other parts are a set: what comes of them does not depend on how many there are, on their names, or
on which rows are in which.
"""

import ast
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from reprise.data import FORMATS
from reprise.data.readers import sources, tables, texts
from reprise.data.readers.columns import UNNAMED, Columns, find, refuse_one_for_two
from reprise.data.readers.interactions import Interactions, Part, Tell, collect, described, silent
from reprise.errors import DataError, UsageError
from reprise.text.messages import Phrase

VIEWED = "pv"  # of Taobao's behaviours, what ComiRec trains on
_GLANCE = 100_000  # rows
# What reading a line as a record raises where it is something else.
_NO_RECORD = (
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
_WITH_COLUMNS = ("table", "recbole", "movielens")  # of these columns are found by their names
_USE_COLUMNS = "table, recbole, movielens (ratings.csv)"
_TOLD = ("category", "title")  # of items


class Asked(NamedTuple):
    """What the user says of a source: its layout (None: recognised), columns, and the behaviours
    that count (None: views).
    """

    layout: str | None = None
    columns: Columns = UNNAMED
    behaviours: Sequence[str] | None = None


NOTHING_ASKED = Asked()


class Found(NamedTuple):
    """A source's parts, to be collected; the rest as in `Interactions`."""

    parts: Sequence[Part]
    items: pl.DataFrame | None = None
    ordered: bool = True
    clocked: bool = True


def asked_of(
    layout: str | None = None, behaviours: str | None = None, **columns: str | None
) -> Asked:
    """Return what a command line asks: columns as <what>_col, behaviours parted by commas."""
    named = Columns(**{name.removesuffix("_col"): given for name, given in columns.items()})
    counted = None if behaviours is None else tuple(map(str.strip, behaviours.split(",")))
    return Asked(layout, named, counted)


def recognise(source: Path) -> str | None:
    """Return the layout of a file or folder by its name and, of a text, its first lines; "comirec"
    for a ComiRec folder, None where it is like none.
    """
    if source.is_dir():
        return _recognise_folder(source)
    if source.suffix == ".inter":
        return "recbole"
    if source.name.startswith("UserBehavior"):
        return "taobao"
    if source.name == "ratings.dat" or _is_ratings(source):
        return "movielens"
    if source.suffix in (".txt", ".dat") and _is_sequences(source):
        return "sequences"
    return "table" if tables.kind(source) else None


def read(
    source: Path, layout: str, asked: Asked = NOTHING_ASKED, tell: Tell = silent
) -> Interactions:
    """Read a source of one of LAYOUTS; DataError names what is wrong with it, and where."""
    refuse_unused(layout, asked)
    found = LAYOUTS[layout](source, asked)
    frame = collect(found.parts, tell)
    return Interactions(layout, frame, found.items, found.ordered, found.clocked)


def refuse_unused(layout: str, asked: Asked) -> None:
    """Raise UsageError where something is asked that says nothing of the layout, or one column is
    named for two things.
    """
    if asked.columns.given and layout not in _WITH_COLUMNS:
        raise _unused(f"{next(iter(asked.columns.given))}-col", layout, _USE_COLUMNS)
    if asked.behaviours is not None and layout != "taobao":
        raise _unused("behaviours", layout, "taobao")
    refuse_one_for_two(asked.columns)


def _unused(option: str, layout: str, used: str) -> UsageError:
    return UsageError("option_unused", option=option, layout=layout, used=used)


def _recognise_folder(folder: Path) -> str | None:
    if sources.matching(folder, "*_train.txt"):
        return "comirec"
    if len(sources.matching(folder, "*.inter")) == 1:
        return "recbole"
    if list(folder.glob("UserBehavior.csv*")):
        return "taobao"
    if any((folder / f"ratings{end}").is_file() for end in (".dat", ".csv", ".csv.gz")):
        return "movielens"
    texts, parts = sources.sequences_in(folder), sources.parts_of(folder)
    if texts and parts:
        names = ", ".join(path.name for path in [*texts, *parts])
        raise DataError("texts_and_tables", path=folder, files=names)
    if texts:
        return "sequences"
    return "table" if parts else None


def _is_ratings(path: Path) -> bool:
    return path.name.startswith("ratings.csv") or (
        tables.kind(path) == "text" and "::" in tables.opening(path)
    )


def _is_sequences(path: Path) -> bool:
    """Whether the first line is ids parted by blanks alone."""
    line = tables.opening(path)
    return len(line.split()) >= 2 and not any(sign in line for sign in ",;|\t")


def _read_recbole(source: Path, asked: Asked) -> Found:
    path = source
    if source.is_dir():
        found = sources.matching(source, "*.inter")
        if len(found) != 1:
            raise DataError("unknown_format", path=source, formats=" | ".join(FORMATS))
        path = found[0]
    about = path.with_suffix(".item")
    if not about.is_file():
        return Found([texts.scan_inter(path, asked.columns)])
    told = Columns(category=asked.columns.category, title=asked.columns.title)
    items = _items(tables.read(about, needed=("item",), columns=told), category_ends=" ")
    return Found([texts.scan_inter(path, asked.columns._replace(category=None, title=None))], items)


def _read_movielens(source: Path, asked: Asked) -> Found:
    folder = source if source.is_dir() else source.parent
    if source.is_dir():
        names = ("ratings.dat", "ratings.csv", "ratings.csv.gz")
        source = next((folder / name for name in names if (folder / name).is_file()), folder)
    if not source.is_file():
        raise DataError("file_missing", path=folder / "ratings.dat")
    if source.name.startswith("ratings.csv"):
        about = next(iter(sources.matching(folder, "movies.csv*")), None)
        return _with_items([source], about, asked.columns)
    if asked.columns.given:
        raise _unused(f"{next(iter(asked.columns.given))}-col", source.name, _USE_COLUMNS)
    fields = ("user", "item", "", "time")
    shown = [name or "..." for name in fields]
    part = texts.scan_parted(source, texts.lines_of(source), "::", fields, shown)
    about = folder / "movies.dat"
    return Found([part], _items(_movies(about)) if about.is_file() else None)


def _movies(path: Path) -> pl.DataFrame:
    """Read movies.dat, whose titles are Latin-1, or what an editor made of it that says so."""
    content = path.read_bytes()
    encoding = "utf-8-sig" if content.startswith(BOM_UTF8) else "latin-1"
    lines = pl.Series(content.decode(encoding, "replace").splitlines(), dtype=pl.String)
    parts = lines.str.split_exact("::", 2).struct.unnest()
    parts.columns = ["item", "title", "category"]
    return parts


def _read_taobao(source: Path, asked: Asked) -> Found:
    path = source
    if source.is_dir():
        path = next(iter(sorted(source.glob("UserBehavior.csv*"))), source / "UserBehavior.csv")
    columns = Columns(user="1", item="2", category="3", behaviour="4", time="5")
    part = tables.scan(path, columns)
    counted = asked.behaviours or (VIEWED,)
    known = _behaviours(part.rows.select("behaviour").head(_GLANCE), part)
    if not set(counted) & known:  # none among the first: look at all
        known = _behaviours(part.rows.select("behaviour"), part)
    if not set(counted) & known:
        raise DataError(
            "no_behaviour",
            path=path,
            asked=", ".join(counted),
            behaviours=", ".join(sorted(known)[:10]),
        )

    wanted = pl.col("behaviour").is_in(list(counted))
    return Found([part.changed(lambda rows: rows.filter(wanted).drop("behaviour"))])


def _behaviours(rows: pl.LazyFrame, part: Part) -> set[str]:
    try:
        return set(rows.drop_nulls().unique().collect(engine="streaming")["behaviour"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error


def _read_sequences(source: Path, asked: Asked) -> Found:
    """Scan lines of a user and his items, or of a user and one item; the order is the time."""
    if source.is_dir():
        found = sources.sequences_in(source)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "-"
            raise DataError("one_text_needed", path=source, files=names)
        source = found[0]
    lines = texts.lines_of(source)
    words = pl.col("text").str.strip_chars().str.split(" ").list.filter(pl.element() != "")
    whole = lines.select("line", "text", words=words).filter(pl.col("words").list.len() > 0)
    try:
        odd = whole.filter(pl.col("words").list.len() < 2).head(1).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise texts.unreadable(source, error) from error
    if len(odd):
        line, text = odd.select("line", "text").row(0)
        expected = Phrase("good_sequence")
        raise DataError("bad_line", path=source, line=line, text=text[:80], expected=expected)
    user, items = pl.col("words").list.first(), pl.col("words").list.slice(1)
    rows = whole.select("line", user=user, item=items).explode("item").with_row_index("time")
    part = Part(source, rows, lambda error: texts.unreadable(source, error))
    return Found([part], clocked=False)


def _read_table(source: Path, asked: Asked) -> Found:
    paths = sources.parts_of(source) if source.is_dir() else [source]
    if not paths:
        raise DataError("unknown_format", path=source, formats=" | ".join(FORMATS))
    about = sources.metadata_of(source)
    if about is not None and (source.is_file() or sources.may_describe(about)):
        about = about if _tells_items(about, asked.columns) else None
    return _with_items(paths, about, asked.columns)._replace(ordered=sources.are_ordered(paths))


def _with_items(paths: Sequence[Path], about: Path | None, columns: Columns) -> Found:
    """Scan tables of interactions and read what another tells of their items. It counts for more
    than what the rows tell, but for columns of theirs that the user names; what he names that they
    have not is its.
    """
    if about is None:
        return Found([tables.scan(path, columns) for path in paths])
    if _is_literal(about):
        items = _meta(about)
        parts = [tables.scan(path, columns) for path in paths]
    else:
        here = {name for path in paths for name in tables.names_of(path)}
        there = set(tables.names_of(about))
        elsewhere = {
            what: name
            for what, name in columns.given.items()
            if what in _TOLD and not columns.by_place and name not in here and name in there
        }
        named = dict(elsewhere)
        if columns.item in there:
            named["item"] = columns.item
        items = _items(tables.read(about, ("item",), Columns(**named)))
        columns = columns._replace(**dict.fromkeys(elsewhere))
        parts = [tables.scan(path, columns) for path in paths]
    items = items.drop([what for what in _TOLD if what in columns.given], strict=False)
    told = [what for what in _TOLD if what in items.columns]
    return Found(
        [part.changed(lambda rows: rows.drop(told, strict=False)) for part in parts], items
    )


def _tells_items(path: Path, columns: Columns) -> bool:
    """Whether a file by the name of metadata is a table with a column of items."""
    try:
        if _is_literal(path):
            return True
        names = tables.names_of(path)
    except DataError:
        if sources.may_describe(path):
            return False
        raise
    return columns.item in names or "item" in find(path, names, UNNAMED)


def _is_literal(path: Path) -> bool:
    """Whether a file has lines of Python's literals, as Amazon's metadata of 2014."""
    return tables.kind(path) == "lines" and tables.opening(path).startswith("{'")


def _meta(path: Path) -> pl.DataFrame:
    """Read metadata of items; Amazon's of 2014 are lines of Python's literals, not JSON."""
    first = tables.first_lines(path, 1)
    if tables.kind(path) != "lines" or not first or not first[0].startswith("{'"):
        return _items(tables.read(path, needed=("item",)))
    try:
        lines = pl.scan_lines(path).collect()["line"].to_list()  # items, not interactions
    except (pl.exceptions.PolarsError, OSError) as error:
        raise texts.unreadable(path, error) from error
    names = ("item", "title", "category")
    rows = [
        _amazon_item(path, line, text) for line, text in enumerate(lines, start=1) if text.strip()
    ]
    return _items(pl.DataFrame(rows, dict.fromkeys(names, pl.String), orient="row"))


def _amazon_item(path: Path, line: int, text: str) -> tuple[str | None, ...]:
    """Return the item, title and category of a line; DataError where it is none of an item."""
    try:
        record = ast.literal_eval(text)
        found = record["asin"], record.get("title"), _narrowest(record.get("categories"))
        return tuple(map(_text, found))
    except _NO_RECORD as error:
        expected = Phrase("good_amazon_item")
        raise DataError(
            "bad_line", path=path, line=line, text=text[:80], expected=expected
        ) from error


def _narrowest(categories: object) -> object:
    """Return the last category of a path, or of the first of several; None of an empty one."""
    while isinstance(categories, list) and categories:
        first, last = categories[0], categories[-1]
        categories = first if isinstance(first, list) else last
    return None if categories == [] else categories


def _text(value: object) -> str | None:
    """Return a text, or a number as one; TypeError of anything else but None."""
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError(type(value))
    return None if value is None else str(value)


def _items(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return item, category and title as text, each item once, its first row counting."""
    item = pl.col("item").cast(pl.String).str.strip_chars()
    frame = described(frame.drop("line", strict=False).with_columns(item), category_ends)
    return frame.unique("item", keep="first", maintain_order=True)


LAYOUTS: dict[str, Callable[[Path, Asked], Found]] = {
    "recbole": _read_recbole,
    "movielens": _read_movielens,
    "taobao": _read_taobao,
    "sequences": _read_sequences,
    "table": _read_table,
}
