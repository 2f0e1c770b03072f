"""Sequences: one line per user (user, then items, oldest first) or per interaction (user, item).
Ids are separated by spaces or tabs; the order of the lines is the order in time.
"""

from pathlib import Path

import polars as pl

from reprise.data.readers import sources, tables
from reprise.data.readers.format import Asked, Format, Found, Part
from reprise.data.readers.texts import lines_of, unreadable
from reprise.errors import DataError
from reprise.text.messages import Phrase


def recognises(path: Path) -> bool:
    """Recognise a text by its first line; raise DataError if a folder also contains tables."""
    if not path.is_dir():
        return path.suffix in (".txt", ".dat") and _are_ids(tables.opening(path))
    texts = sources.sequences_in(path)
    parts = sources.parts_of(path) if texts else []
    if parts:
        names = ", ".join(file.name for file in [*texts, *parts])
        raise DataError("texts_and_tables", path=path, files=names)
    return bool(texts)


def _are_ids(line: str) -> bool:
    """Return whether a line consists of ids separated by spaces or tabs."""
    return len(line.split()) >= 2 and not any(sign in line for sign in ",;|\t")


def read(source: Path, asked: Asked) -> Found:
    """Scan lines of a user and their items, or of a user and a single item."""
    if source.is_dir():
        found = sources.sequences_in(source)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "-"
            raise DataError("one_text_needed", path=source, files=names)
        source = found[0]
    lines = lines_of(source)
    words = pl.col("text").str.strip_chars().str.split(" ").list.filter(pl.element() != "")
    whole = lines.select("line", "text", words=words).filter(pl.col("words").list.len() > 0)
    try:
        lonely = whole.filter(pl.col("words").list.len() < 2).head(1).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(source, error) from error
    if len(lonely):
        line, text = lonely.select("line", "text").row(0)
        expected = Phrase("good_sequence")
        raise DataError("bad_line", path=source, line=line, text=text[:80], expected=expected)
    user, items = pl.col("words").list.first(), pl.col("words").list.slice(1)
    rows = whole.select("line", user=user, item=items).explode("item").with_row_index("time")
    return Found([Part(source, rows, lambda error: unreadable(source, error))], clocked=False)


FORMAT = Format(recognises, read)
