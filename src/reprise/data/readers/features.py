"""Read features of items (`--item-features`) from a table with a row an item, or vectors of a file.

A column's kind follows from its type, where the user does not say it (`name:kind`):

category     text, true or false     a code for each value, 0 for none
categories   lists of these          several codes; of text that is told to be so, parted by "|"
number       numbers, dates          standardised; text is, if each value is a number; but whole
                                     numbers that are names, by what their column is called
                                     (category_id, brand_code) or as they are written (007), are
                                     categories
vector       lists of floats         all of one length

The columns of a RecBole table (`name:type`) have the names without types, and the kinds of their
types: token is a category, token_seq categories, float a number, float_seq a vector; lists are
texts parted by blanks.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.features import UNKNOWN, bags_of, codes_of, numbers_of, vectors_of
from reprise.data.ids import spelled
from reprise.data.item_files import Described
from reprise.data.npy import open_array
from reprise.data.readers import amazon, tables
from reprise.data.readers.columns import UNNAMED, USUAL, find, plain, some
from reprise.data.readers.dialect import UNTOLD, Dialect
from reprise.data.readers.interactions import as_text
from reprise.errors import ContentError, DataError, UsageError
from reprise.text.messages import Phrase
from reprise.text.suggest import suggest

ALL = "all"
KINDS = ("category", "categories", "number", "vector")
_ID = "\0item"  # the ids of a table of items, a name that no column has
_BETWEEN = "|"  # categories of a text
_RECBOLE = re.compile(r"(.+):(token|token_seq|float|float_seq)")
_NAMES = re.compile(r"(?i:(?:^|[_\s-])(?:ids?|codes?))$|[a-z](?:I[dD]|Code)$")
_ZEROS_FIRST = r"^\s*0\d"  # a code, such as 007
_SHOWN = 80  # characters of a value that a message shows
_IDS = ".ids.txt"  # beside a file of vectors, in the place of .npy: an id a line
# Of `all`, what is text with more values than so many an item (descriptions, links) is no category.
_MOST_VALUES = 0.5


class FeatureAsked(NamedTuple):
    """A feature by its name: a column's, or of the vectors of a file; kind: of KINDS, None: by the
    column's type.
    """

    name: str
    kind: str | None = None
    vectors: Path | None = None


class FeaturesAsked(NamedTuple):
    """The features that a user asks for, None: all columns that can be; and the table that has
    them, None: what the interactions' source tells of its items.
    """

    features: Sequence[FeatureAsked] | None
    table: Path | None = None


class Taken(NamedTuple):
    """What is taken of a table of items: features, its columns that are none of all, and titles
    [V], with the column that has them; None: it has none.
    """

    features: list[Described]
    left_out: list[str]
    titles: pl.Series | None = None


class _Table(NamedTuple):
    """A table of items: _ID beside the columns; the file that it is from; and its column of titles,
    if it has one.
    """

    frame: pl.DataFrame
    path: Path
    title: str | None = None


def features_asked(
    asked: str | Sequence[str] | None, table: str | Path | None
) -> FeaturesAsked | None:
    """Return what --item-features and --items ask for; UsageError where that is not understood."""
    if asked is None:
        if table is not None:
            raise UsageError("option_needs", option="--items", needs="--item-features")
        return None
    named = asked.split(",") if isinstance(asked, str) else list(asked)
    named = [one.strip() for one in named if one.strip()]
    if not named:
        raise UsageError("missing_value", option="item-features")
    path = None if table is None else Path(table)
    if named == [ALL]:
        return FeaturesAsked(None, path)
    features = [_feature_asked(one) for one in named]
    names = [one.name for one in features]
    if len(set(names)) < len(names):
        raise _bad(",".join(named), Phrase("good_features_once"))
    return FeaturesAsked(features, path)


def _feature_asked(text: str) -> FeatureAsked:
    name, equals, path = text.partition("=")
    if equals and name and path.endswith(".npy"):
        return FeatureAsked(name, "vector", Path(path))
    name, colon, kind = text.rpartition(":")
    if colon and kind in KINDS and name:
        return FeatureAsked(name, kind)
    if equals or (colon and not kind.strip()) or text == ALL:
        raise _bad(text, Phrase("good_features", kinds=" | ".join(KINDS)))
    return FeatureAsked(text)


def _bad(value: str, expected: Phrase) -> UsageError:
    return UsageError("bad_value", option="item-features", value=value, expected=expected)


def read(
    asked: FeaturesAsked,
    raw_items: pl.Series,
    about: pl.DataFrame,
    source: Path,
    item_column: str | None = None,
) -> Taken:
    """Return the features of the items 1..V, and what else their table tells. raw_items: the items'
    own ids; about: what their source tells of them, a row each; item_column: what the source calls
    their ids, as a table of items may, too.
    """
    own = pl.DataFrame({_ID: raw_items})
    of_table = [one for one in asked.features or () if one.vectors is None]
    found: dict[str, Described] = {}
    left_out: list[str] = []
    titles = None
    if of_table or asked.features is None:
        table = _table(
            asked, own.hstack(about), source, [one.name for one in of_table], item_column
        )
        _refuse_strangers(table, raw_items)
        rows = table.frame.filter(pl.col(_ID).is_in(raw_items.implode()))
        once = _once(rows)
        frame = own.join(once, on=_ID, how="left", maintain_order="left")
        if table.title is not None and "title" not in about.columns:
            titles = _texts(frame[table.title])
        if asked.features is None:
            of_table, left_out = _all(frame)
            left_out = [name for name in left_out if titles is None or name != titles.name]
        for one in of_table:
            _refuse_differing(one.name, rows, table.path)
            column = frame[one.name]
            # What the source tells of its items is text, whatever it looks like.
            kind = one.kind or ("category" if asked.table is None else _kind(column))
            if kind is None:
                facts = {"name": one.name, "type": column.dtype, "kinds": " | ".join(KINDS)}
                raise DataError("feature_kind", path=table.path, **facts)
            found[one.name] = _MADE[kind](one.name, column, table.path, raw_items)
    for one in asked.features or ():
        if one.vectors is not None:
            found[one.name] = _of_file(one.name, one.vectors, raw_items)
    order = found if asked.features is None else [one.name for one in asked.features]
    return Taken([found[name] for name in order], left_out, titles)


def _table(
    asked: FeaturesAsked,
    about: pl.DataFrame,
    source: Path,
    wanted: Sequence[str],
    item_column: str | None,
) -> _Table:
    """Return the table that has the features."""
    path = asked.table
    if path is None:
        columns = [name for name in about.columns if name != _ID]
        _refuse_missing(wanted, columns, source)
        return _Table(about, source)
    if amazon.is_metadata(path):
        frame = amazon.read_metadata(path).rename({"item": _ID})
        _refuse_missing(wanted, [name for name in frame.columns if name != _ID], path)
        table = _Table(frame, path, "title")
    else:
        table = _columns(path, wanted, item_column)
    item = spelled(pl.col(_ID), table.frame.schema[_ID])
    return table._replace(frame=table.frame.with_columns(item))


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each item once, each column with its first value."""
    if not rows[_ID].is_duplicated().any():
        return rows
    first = pl.all().drop_nulls().first()
    return rows.group_by(_ID, maintain_order=True).agg(first)


def _refuse_differing(name: str, rows: pl.DataFrame, path: Path) -> None:
    """Raise DataError where several rows tell different things of an item."""
    own = rows.select(_ID, name).filter(pl.col(_ID).is_duplicated()).drop_nulls()
    if own.is_empty():
        return
    words = own.select(_ID, value=_as_words(name, own.schema[name]))
    told = words.group_by(_ID, maintain_order=True).agg(pl.col("value").unique(maintain_order=True))
    differing = told.filter(pl.col("value").list.len() > 1)
    if len(differing):
        item, values = differing.row(0)
        first, second = (str(value)[:_SHOWN] for value in values[:2])
        facts = {"item": item, "first": first, "second": second, "count": len(differing)}
        raise DataError("feature_differs", path=path, name=name, **facts)


def _as_words(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column as text that tells its values apart."""
    column = pl.col(name)
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=False)
    return column.cast(pl.String).str.strip_chars()


def _texts(column: pl.Series) -> pl.Series:
    """Return a column as text, null where it is blank; its name is the column's."""
    texts = column.to_frame().select(as_text(pl.col(column.name), column.dtype)).to_series()
    return texts.set(texts == "", None)


def _columns(path: Path, wanted: Sequence[str], item_column: str | None) -> _Table:
    """Return the columns of a table that are wanted, or all where none is, its ids and titles."""
    names = tables.names_of(path)
    usual = find(path, names, UNNAMED)
    item = item_column if item_column in names else usual.get("item")
    if item is None:
        raise DataError("items_no_column", path=path, columns=some(names))
    types = _types_of(names)
    dialect = Dialect("\t", "") if types else UNTOLD  # parted by tabs, and nothing is quoted
    columns = {name.rpartition(":")[0] if types else name: name for name in names if name != item}
    _refuse_missing(wanted, list(columns), path)
    title = next((name for name, own in columns.items() if own == usual.get("title")), None)
    read = dict.fromkeys([*(wanted or columns), *([] if title is None else [title])])
    taken = {f"f {name}": columns[name] for name in read}  # none is "line" or "item"
    part = tables.scan_rows(path, {"item": item, **taken}, dialect)
    try:
        frame = part.rows.drop("line").collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise part.refuse(error) from error
    typed = [_typed(f"f {name}", types.get(columns[name])) for name in read]
    frame = frame.with_columns(typed).rename({"item": _ID, **{own: own[2:] for own in taken}})
    return _Table(frame, path, title)


def _types_of(names: Sequence[str]) -> dict[str, str]:
    """Return the types in the header of a RecBole table by the columns' whole names; of another
    table none.
    """
    found = {name: match[2] for name in names if (match := _RECBOLE.fullmatch(name))}
    return found if len(found) == len(names) else {}


def _typed(name: str, of_recbole: str | None) -> pl.Expr:
    """Return a column, with the type that RecBole's tables tell of it."""
    column = pl.col(name)
    match of_recbole:
        case "token":  # a number is a name, too
            return column.cast(pl.String).cast(pl.Categorical)
        case "token_seq":
            return column.cast(pl.String).str.split(" ")
        case "float_seq":
            return column.cast(pl.String).str.split(" ").cast(pl.List(pl.Float32))
    return column


def _refuse_missing(wanted: Sequence[str], columns: Sequence[str], path: Path) -> None:
    for name in wanted:
        if name not in columns:
            facts = {"columns": ", ".join(columns) or "-", "suggestion": suggest(columns, name)}
            raise DataError("feature_missing", path=path, name=name, **facts)


def _refuse_strangers(table: _Table, raw_items: pl.Series) -> None:
    """Raise DataError where a table tells of none of the items."""
    if not raw_items.is_in(table.frame[_ID].implode()).any():
        others = ", ".join(table.frame[_ID].drop_nulls().head(2))
        items = ", ".join(raw_items.head(2))
        raise DataError("no_item_matches", path=table.path, items=items, others=others)


def _all(frame: pl.DataFrame) -> tuple[list[FeatureAsked], list[str]]:
    """Return the columns that can be features, and those that can not."""
    columns = [column for column in frame.iter_columns() if column.name != _ID]
    taken = [FeatureAsked(one.name) for one in columns if _kind(one) and not _is_free_text(one)]
    names = {one.name for one in taken}
    return taken, [one.name for one in columns if one.name not in names]


def _is_free_text(column: pl.Series) -> bool:
    kind = _kind(column)
    if kind not in ("category", "categories"):
        return False
    known = column.drop_nulls()
    values = known.explode() if kind == "categories" else known
    return not len(known) or values.n_unique() > max(_MOST_VALUES * len(known), 1)


def _kind(column: pl.Series) -> str | None:
    """Return the kind of a column by its type; None where it can be no feature."""
    dtype = column.dtype
    if isinstance(dtype, pl.List | pl.Array):
        if dtype.inner.is_float():
            return "vector"
        return None if dtype.inner.is_nested() else "categories"
    if dtype == pl.String:
        numbers = _numbers_of_text(column)
        if numbers is None or column.str.contains(_ZEROS_FIRST).any():
            return "category"
        return "category" if _are_names(column.name, numbers) else "number"
    if dtype.is_numeric():
        return "category" if _are_names(column.name, column) else "number"
    if dtype in (pl.Date, pl.Datetime):
        return "number"
    is_word = dtype == pl.Boolean or isinstance(dtype, pl.Categorical | pl.Enum)
    return "category" if is_word else None


def _are_names(name: str, numbers: pl.Series) -> bool:
    """Return whether numbers name something, such as the ids of categories: no amounts."""
    called = plain(name)
    if called not in USUAL["category"].split() and not _NAMES.search(name):
        return False
    return bool((numbers.drop_nulls() % 1 == 0).all())


def _numbers_of_text(column: pl.Series) -> pl.Series | None:
    """Return a column of text as numbers, null where it is blank; None where a text is none, or all
    are blank.
    """
    text = column.str.strip_chars()
    text = text.set(text == "", None)
    numbers = text.cast(pl.Float64, strict=False)
    return None if numbers.null_count() > text.null_count() or text.is_null().all() else numbers


def _category(name: str, column: pl.Series, path: Path, raw_items: pl.Series) -> Described:
    if isinstance(column.dtype, pl.List | pl.Array):
        _refuse_several(name, column, path, raw_items)
    texts = _texts(column)
    vocabulary = _vocabulary(texts)
    feature = codes_of(name, _codes(texts, vocabulary), len(vocabulary))
    return Described(feature, column.name, path.name, vocabulary)


def _categories(name: str, column: pl.Series, path: Path, raw_items: pl.Series) -> Described:
    if column.dtype == pl.String:
        column = column.str.split(_BETWEEN)
    elif not isinstance(column.dtype, pl.List | pl.Array):
        column = column.to_frame().select(pl.concat_list(column.name)).to_series()
    pairs = column.to_frame().with_row_index("row", 1).explode(column.name)
    inner = pairs.schema[column.name]
    pairs = pairs.select("row", text=as_text(pl.col(column.name), inner))
    pairs = pairs.filter(pl.col("text") != "").unique(maintain_order=True)
    vocabulary = _vocabulary(pairs["text"])
    items, codes = pairs["row"].to_numpy(), _codes(pairs["text"], vocabulary)
    feature = bags_of(name, items, codes, len(raw_items), len(vocabulary))
    return Described(feature, column.name, path.name, vocabulary)


def _refuse_several(name: str, column: pl.Series, path: Path, raw_items: pl.Series) -> None:
    """Raise DataError where an item has several categories."""
    lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    several = (lists.list.drop_nulls().list.n_unique() > 1).fill_null(False).arg_true()
    if len(several):
        place = several[0]
        values = ", ".join(map(str, lists[place]))[:_SHOWN]
        facts = {"name": name, "item": raw_items[place], "values": values}
        raise DataError("feature_several", path=path, **facts)


def _vocabulary(texts: pl.Series) -> pl.Series:
    """Return the values by falling count, equals in their order, behind a null."""
    values = texts.drop_nulls().alias("value").to_frame()
    counted = values.group_by("value").len().sort(["len", "value"], descending=[True, False])
    return pl.concat([pl.Series("value", [None], pl.String), counted["value"]])


def _codes(texts: pl.Series, vocabulary: pl.Series) -> NDArray[np.int32]:
    known = vocabulary[1:]
    places = pl.int_range(1, len(vocabulary), eager=True, dtype=pl.Int32)
    codes = texts.replace_strict(known, places, default=UNKNOWN, return_dtype=pl.Int32)
    return codes.fill_null(UNKNOWN).to_numpy()


def _number(name: str, column: pl.Series, path: Path, raw_items: pl.Series) -> Described:
    numbers: pl.Series | None = None
    if column.dtype == pl.String:
        numbers = _numbers_of_text(column)
    elif column.dtype in (pl.Date, pl.Datetime):
        numbers = column.cast(pl.Datetime("us")).to_physical().cast(pl.Float64) / 10**6
    elif column.dtype.is_numeric() or column.dtype == pl.Boolean:
        numbers = column.cast(pl.Float64)
    if numbers is None:
        bad = next((value for value in column.drop_nulls() if not _is_number(value)), None)
        raise DataError("feature_number", path=path, name=name, value=str(bad)[:_SHOWN])
    infinite = numbers.is_infinite().arg_true()
    if len(infinite):
        place = infinite[0]
        facts = {"name": name, "item": raw_items[place], "value": str(column[place])}
        raise DataError("feature_infinite", path=path, **facts)
    feature = numbers_of(name, numbers.fill_null(np.nan).to_numpy())
    return Described(feature, column.name, path.name)


def _is_number(value: object) -> bool:
    try:
        float(str(value).strip() or 0)
    except ValueError:
        return False
    return True


def _vector(name: str, column: pl.Series, path: Path, raw_items: pl.Series) -> Described:
    if not isinstance(column.dtype, pl.List | pl.Array) or column.dtype.inner.is_nested():
        facts = {"name": name, "type": column.dtype, "kinds": " | ".join(KINDS[:3])}
        raise DataError("feature_kind", path=path, **facts)
    lists = column.cast(pl.List(pl.Float32), strict=False)
    lengths = lists.list.len()
    known = lengths.fill_null(0).to_numpy() > 0
    usual = lengths.filter(lengths > 0).mode().min()
    if usual is None:
        raise DataError("feature_empty", path=path, name=name)
    odd = np.flatnonzero(known & (lengths.fill_null(0).to_numpy() != usual))
    if len(odd):
        item, length = raw_items[int(odd[0])], lengths[int(odd[0])]
        facts = {"item": item, "length": length, "expected": usual}
        raise DataError("feature_lengths", path=path, name=name, **facts)
    values = np.zeros((len(column), int(usual)), np.float32)  # type: ignore[arg-type]
    values[known] = (
        lists.filter(pl.Series(known))
        .explode()
        .fill_null(np.nan)
        .to_numpy()
        .reshape(-1, values.shape[1])
    )
    return _finite(name, values, path, raw_items, column.name)


def _of_file(name: str, path: Path, raw_items: pl.Series) -> Described:
    """Return the vectors of a file, whose rows are of the items that the file of ids names."""
    ids_path = path.with_suffix(_IDS)
    for one in (path, ids_path):
        if not one.is_file():
            raise DataError("file_missing", path=one)
    try:
        vectors = open_array(path)
        ids = pl.Series(_ID, ids_path.read_text(encoding="utf-8").split("\n"), pl.String)
    except (ContentError, OSError, UnicodeDecodeError) as error:
        raise DataError("feature_vectors", path=path, reason=error) from error
    ids = ids.str.strip_chars()
    ids = ids[:-1] if len(ids) and ids[-1] == "" else ids
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
        reason = Phrase("feature_shape", shape=vectors.shape, dtype=vectors.dtype)
        raise DataError("feature_vectors", path=path, reason=reason)
    if len(ids) != len(vectors):
        facts = {"rows": len(vectors), "ids": len(ids), "other": ids_path}
        raise DataError("feature_ids", path=path, **facts)
    _refuse_other_vectors(ids, vectors, path, ids_path)
    rows = ids.to_frame().with_row_index("row").unique(_ID, keep="first", maintain_order=True)
    _refuse_strangers(_Table(rows, ids_path), raw_items)
    own = pl.DataFrame({_ID: raw_items}).join(rows, on=_ID, how="left", maintain_order="left")
    place = own["row"].fill_null(0).to_numpy()
    known = own["row"].is_not_null().to_numpy()
    values = np.zeros((len(raw_items), vectors.shape[1]), np.float32)
    values[known] = vectors[place[known]]
    return _finite(name, values, path, raw_items, path.stem)


def _refuse_other_vectors(ids: pl.Series, vectors: NDArray[Any], path: Path, names: Path) -> None:
    """Raise DataError where an id is there twice, with different vectors."""
    rows = ids.to_frame().with_row_index("row").filter(ids.is_duplicated())
    first = pl.col("row").first().over(_ID)
    for row, other, item in rows.select("row", first.alias("first"), _ID).iter_rows():
        if not np.array_equal(vectors[row], vectors[other]):
            lines = {"first": other + 1, "second": row + 1}
            raise DataError("feature_ids_differ", path=path, other=names, item=item, **lines)


def _finite(
    name: str, values: NDArray[np.float32], path: Path, raw_items: pl.Series, column: str
) -> Described:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError("feature_not_finite", path=path, name=name, item=raw_items[int(bad[0])])
    return Described(vectors_of(name, values), column, path.name)


_MADE = {
    "category": _category,
    "categories": _categories,
    "number": _number,
    "vector": _vector,
}
