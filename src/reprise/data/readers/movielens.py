"""MovieLens: ratings.dat with movies.dat, or ratings.csv with movies.csv."""

from codecs import BOM_UTF8
from pathlib import Path

import polars as pl

from reprise.data.readers import tables
from reprise.data.readers.format import Asked, Format, Found
from reprise.data.readers.items import items_of, tables_with_items
from reprise.data.readers.sources import matching
from reprise.data.readers.texts import lines_of, scan_fields
from reprise.errors import DataError, UsageError

_RATINGS = ("ratings.dat", "ratings.csv", "ratings.csv.gz")
_NAMED_COLUMNS = "movielens (ratings.csv)"


def recognises(path: Path) -> bool:
    """Recognise ratings by their name, or by `::` in the first line."""
    if path.is_dir():
        return any((path / name).is_file() for name in _RATINGS)
    if path.name == "ratings.dat" or path.name.startswith("ratings.csv"):
        return True
    return tables.kind(path) == "text" and "::" in tables.opening(path)


def read(source: Path, asked: Asked) -> Found:
    """Scan the ratings; read the movies beside them."""
    folder = source if source.is_dir() else source.parent
    if source.is_dir():
        names = (name for name in _RATINGS if (folder / name).is_file())
        source = next((folder / name for name in names), folder)
    if not source.is_file():
        raise DataError("file_missing", path=folder / "ratings.dat")
    if source.name.startswith("ratings.csv"):
        about = next(iter(matching(folder, "movies.csv*")), None)
        return tables_with_items([(source, {})], about, asked)
    unused = [*(f"{what}-col" for what in asked.columns.given), *asked.dialect.given]
    unused += ["events"] if "event" in asked.columns.sought else []
    if unused:
        option = unused[0]
        raise UsageError("option_unused", option=option, layout=source.name, used=_NAMED_COLUMNS)
    fields = ("user", "item", "rating" if asked.min_rating is not None else "", "time")
    shown = [name or "..." for name in fields]
    part = scan_fields(source, lines_of(source), "::", fields, shown)
    about = folder / "movies.dat"
    if not about.is_file():
        return Found([part])
    return Found([part], items_of(_movies(about)), about=about)


def _movies(path: Path) -> pl.DataFrame:
    """Read movies.dat: Latin-1, or UTF-8 where it has a byte order mark."""
    content = path.read_bytes()
    encoding = "utf-8-sig" if content.startswith(BOM_UTF8) else "latin-1"
    lines = pl.Series(content.decode(encoding, "replace").splitlines(), dtype=pl.String)
    parts = lines.str.split_exact("::", 2).struct.unnest()
    parts.columns = ["item", "title", "category"]
    return parts


FORMAT = Format(recognises, read, named_columns=_NAMED_COLUMNS)
