"""Layouts of sources: how each well-known one is recognised, and read into `Interactions`.

recbole    <x>.inter, and <x>.item beside it for categories and titles
movielens  ratings.dat with movies.dat, or ratings.csv with movies.csv
taobao     UserBehavior.csv: user, item, category, behaviour, time, without a header
sequences  a line a user: user, then his items, oldest first; or a line an interaction: user, item
table      one file or a folder of parts: CSV, TSV, Parquet or JSON lines (Amazon's reviews), and
           <x>_meta or meta_<x> beside them for categories and titles

A ComiRec folder is split already, and `prepare` reads it.
"""

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from reprise.data import FORMATS, formats, tables
from reprise.data.interactions import Interactions, checked
from reprise.data.tables import Columns
from reprise.errors import DataError

_SPLITS = ("train",), ("valid", "val", "dev"), ("test",)
VIEWED = "pv"  # of Taobao's behaviours, what ComiRec trains on


class Asked(NamedTuple):
    """What the user says of a source: its layout (None: recognised), columns, and the behaviours
    that count.
    """

    layout: str | None = None
    columns: Columns = Columns()
    behaviours: Sequence[str] = (VIEWED,)


NOTHING_ASKED = Asked()


def asked_of(
    layout: str | None = None, behaviours: str | None = None, **columns: str | None
) -> Asked:
    """Return what a command line asks: columns as <what>_col, behaviours parted by commas."""
    named = Columns(**{name.removesuffix("_col"): given for name, given in columns.items()})
    counted = (VIEWED,) if behaviours is None else tuple(behaviours.split(","))
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


def read(source: Path, layout: str, asked: Asked = NOTHING_ASKED) -> Interactions:
    """Read a source of one of LAYOUTS; DataError names what is wrong with it, and where."""
    found = LAYOUTS[layout](source, asked)
    return Interactions(layout, found.frame, found.items)


def _recognise_folder(folder: Path) -> str | None:
    if list(folder.glob("*_train.txt")):
        return "comirec"
    if len(list(folder.glob("*.inter"))) == 1:
        return "recbole"
    if list(folder.glob("UserBehavior.csv*")):
        return "taobao"
    if any((folder / f"ratings{end}").is_file() for end in (".dat", ".csv", ".csv.gz")):
        return "movielens"
    return "table" if _parts(folder) else None


def _is_ratings(path: Path) -> bool:
    return path.name.startswith("ratings.csv") or (
        tables.kind(path) == "text" and any("::" in line for line in tables.first_lines(path, 1))
    )


def _is_sequences(path: Path) -> bool:
    """Whether the first line is ids parted by blanks alone."""
    return any(
        len(line.split()) >= 2 and not any(sign in line for sign in ",;|\t")
        for line in tables.first_lines(path, 1)
    )


def _parts(folder: Path) -> list[Path]:
    """Return the tables of a folder by name, those of splits in their order; texts that need not be
    tables and metadata are left out. DataError where they are of several kinds.
    """
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and tables.kind(path)]
    parts = [path for path in found if not re.search(r"meta|\.(txt|dat)", path.name)]
    if len({tables.kind(path) for path in parts}) > 1:
        names = ", ".join(path.name for path in parts)
        raise DataError("parts_differ", path=folder, files=names)
    return sorted(parts, key=_place)


def _place(path: Path) -> int:
    """Return where a part stands that is named after a split: time runs from train to test."""
    stem = path.name.partition(".")[0]
    return next((place for place, names in enumerate(_SPLITS) if stem in names), 0)


def _read_recbole(source: Path, asked: Asked) -> Interactions:
    path = source
    if source.is_dir():
        found = sorted(source.glob("*.inter"))
        if len(found) != 1:
            raise DataError("unknown_format", path=source, formats=" | ".join(FORMATS))
        path = found[0]
    described = path.with_suffix(".item")
    items = None
    if described.is_file():
        items = _items(tables.read(described, Columns(), needed=("item",)), category_ends=" ")
    return Interactions("", formats.read_inter(path), items)


def _read_movielens(source: Path, asked: Asked) -> Interactions:
    folder = source if source.is_dir() else source.parent
    if source.is_dir():
        names = ("ratings.dat", "ratings.csv", "ratings.csv.gz")
        source = next((folder / name for name in names if (folder / name).is_file()), folder)
    if not source.is_file():
        raise DataError("file_missing", path=folder / "ratings.dat")
    if source.name.startswith("ratings.csv"):
        frame = tables.read(source, asked.columns)
        described = next(iter(sorted(folder.glob("movies.csv*"))), None)
        items = None if described is None else tables.read(described, Columns(), needed=("item",))
    else:
        frame = _colons(source, ("user", "item", "", "time"))
        described = folder / "movies.dat"
        items = _movies(described) if described.is_file() else None
    return Interactions("", checked(frame, source), None if items is None else _items(items))


def _colons(path: Path, fields: Sequence[str]) -> pl.DataFrame:
    """Read lines of fields parted by "::", those that have a name."""
    try:
        lines = pl.scan_lines(path, name="text").with_row_index("line", offset=1)
        parts = pl.col("text").str.strip_chars_end("\r").str.split("::")
        named = [parts.list.get(place).alias(name) for place, name in enumerate(fields) if name]
        odd = lines.filter(parts.list.len() != len(fields)).head(1).collect(engine="streaming")
        if len(odd):
            line, text = odd.select("line", "text").row(0)
            expected = "::".join(name or "..." for name in fields)
            raise DataError("bad_line", path=path, line=line, text=text[:80], expected=expected)
        frame = lines.select("line", *named).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError("unreadable", path=path, reason=str(error).partition("\n")[0]) from error
    if frame.is_empty():
        raise DataError("no_interactions", path=path)
    return frame


def _movies(path: Path) -> pl.DataFrame:
    """Read movies.dat, whose titles are Latin-1."""
    lines = pl.Series(path.read_bytes().decode("latin-1").splitlines(), dtype=pl.String)
    parts = lines.str.split_exact("::", 2).struct.unnest()
    parts.columns = ["item", "title", "category"]
    return parts


def _read_taobao(source: Path, asked: Asked) -> Interactions:
    path = source
    if source.is_dir():
        path = next(iter(sorted(source.glob("UserBehavior.csv*"))), source / "UserBehavior.csv")
    columns = Columns(user="1", item="2", category="3", behaviour="4", time="5")
    frame = tables.read(path, columns)
    counted = frame.filter(pl.col("behaviour").is_in(list(asked.behaviours)))
    if counted.is_empty():
        known = ", ".join(sorted(frame["behaviour"].drop_nulls().unique().head(10).to_list()))
        raise DataError(
            "no_behaviour", path=path, asked=", ".join(asked.behaviours), behaviours=known
        )
    return _with_own_items(checked(counted.drop("behaviour"), path))


def _read_sequences(source: Path, asked: Asked) -> Interactions:
    """Read lines of a user and his items, or of a user and one item; the order is the time."""
    try:
        lines = pl.scan_lines(source, name="text").with_row_index("line", offset=1)
        words = pl.col("text").str.strip_chars().str.split(" ").list.filter(pl.element() != "")
        whole = lines.select("line", "text", words=words).filter(pl.col("words").list.len() > 0)
        odd = whole.filter(pl.col("words").list.len() < 2).head(1).collect(engine="streaming")
        if len(odd):
            line, text = odd.select("line", "text").row(0)
            expected = "a user and his items, parted by blanks"
            raise DataError("bad_line", path=source, line=line, text=text[:80], expected=expected)
        frame = (
            whole.select(
                "line",
                user=pl.col("words").list.first(),
                item=pl.col("words").list.slice(1),
            )
            .explode("item")
            .collect(engine="streaming")
            .with_row_index("time")
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError("unreadable", path=source, reason=str(error).partition("\n")[0]) from error
    if frame.is_empty():
        raise DataError("no_interactions", path=source)
    return Interactions("", frame.select("user", "item", pl.col("time").cast(pl.Int64), "line"))


def _read_table(source: Path, asked: Asked) -> Interactions:
    parts = _parts(source) if source.is_dir() else [source]
    if not parts:
        raise DataError("unknown_format", path=source, formats=" | ".join(FORMATS))
    frames = [checked(tables.read(path, asked.columns), path) for path in parts]
    frame = frames[0]
    if len(frames) > 1:  # lines of all parts, in the order of the parts' names
        frame = pl.concat(frames, how="diagonal_relaxed").drop("line").with_row_index("line")
    folder = source if source.is_dir() else source.parent
    described = [path for path in sorted(folder.glob("*meta*")) if tables.kind(path)]
    if len(described) == 1 and described[0] not in parts:
        return Interactions("", frame.select("user", "item", "time", "line"), _meta(described[0]))
    return _with_own_items(frame)


def _meta(path: Path) -> pl.DataFrame:
    """Read metadata of items; Amazon's of 2014 are lines of Python's literals, not JSON."""
    first = tables.first_lines(path, 1)
    if tables.kind(path) == "lines" and first and first[0].startswith("{'"):
        try:
            lines = pl.scan_lines(path).collect()["line"].to_list()
            records = [ast.literal_eval(line) for line in lines]  # items, not interactions
            return _items(
                pl.DataFrame(
                    {
                        "item": [record["asin"] for record in records],
                        "title": [record.get("title") for record in records],
                        "category": [
                            next(iter(record.get("categories", [[]])[0][-1:]), None)
                            for record in records
                        ],
                    },
                    schema=dict.fromkeys(("item", "title", "category"), pl.String),
                )
            )
        except (ValueError, SyntaxError, KeyError, IndexError, AttributeError) as error:
            raise DataError("unreadable", path=path, reason=error) from error
    return _items(tables.read(path, Columns(), needed=("item",)))


def _with_own_items(frame: pl.DataFrame) -> Interactions:
    """Return interactions whose own rows tell their items' categories and titles, the first word
    of each item counting.
    """
    known = [name for name in ("category", "title") if name in frame.columns]
    items = _items(frame.select("item", *known)) if known else None
    return Interactions("", frame.select("user", "item", "time", "line"), items)


def _items(frame: pl.DataFrame, category_ends: str = "|") -> pl.DataFrame:
    """Return item, category and title as text, each item once: of several categories the first of
    a text, the last (the narrowest) of a list.
    """
    frame = frame.drop("line", strict=False).with_columns(
        pl.col("item").cast(pl.String).str.strip_chars()
    )
    if "category" in frame.columns:
        category = pl.col("category")
        if frame["category"].dtype == pl.List:
            category = category.list.last()
            if frame["category"].list.last().dtype == pl.List:
                category = category.list.last()
        frame = frame.with_columns(
            category.cast(pl.String).str.split(category_ends).list.first().str.strip_chars()
        )
    if "title" in frame.columns:
        frame = frame.with_columns(pl.col("title").cast(pl.String))
    return frame.unique("item", keep="first", maintain_order=True)


LAYOUTS: dict[str, Callable[[Path, Asked], Interactions]] = {
    "recbole": _read_recbole,
    "movielens": _read_movielens,
    "taobao": _read_taobao,
    "sequences": _read_sequences,
    "table": _read_table,
}
