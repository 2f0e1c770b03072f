"""Take the rows of a query from a database file, SQLite or DuckDB, as a table.

The rows go into a Parquet file in a temporary folder, a batch at a time, with the types that they
have there; from then on they are read like any table.
"""

import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from reprise.data.files import beginning_of
from reprise.data.ids import spelled, spelled_one
from reprise.data.readers.format import OnProgress
from reprise.data.readers.given import Given, Source, refuse_server
from reprise.errors import DataError, RepriseError, UsageError

_BATCH = 100_000  # rows
_FILE = re.compile(r"(?:sqlite|duckdb):/*", re.IGNORECASE)  # in front of a path
_SQLITE, _DUCKDB = "SQLite", "DuckDB"
_EXACT = 2**53  # whole numbers below it are doubles, too
# Types of DuckDB that Parquet has not, or not as they are.
_NOT_READ = re.compile(r"(?:U?HUGEINT|BLOB|BIT|UUID|INTERVAL|BIGNUM|VARINT)\b")


def kind_of(path: Path) -> str | None:
    """Return what kind of database a file is, by its first bytes; None: of none."""
    head = beginning_of(path)
    if head.startswith(b"SQLite format 3\0"):
        return _SQLITE
    return _DUCKDB if head[8:12] == b"DUCK" else None


@contextmanager
def queried(source: Source, query: str, on_progress: OnProgress) -> Iterator[Given]:
    """Yield the rows of a query as a source, for the block; its errors name the database.

    Raises:
        UsageError: The source is not one database, or DuckDB is not installed.
        DataError: The query fails, or has columns that cannot be read.
    """
    path = _database(source)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"{path.name}.parquet"
        if kind_of(path) == _SQLITE:
            _from_sqlite(path, query, table, on_progress)
        else:
            _from_duckdb(path, query, table)
        try:
            yield Given((table,), table.parent, str(path))
        except RepriseError as error:
            values = error.values.items()
            named = {key: path if value in (table, str(table)) else value for key, value in values}
            raise type(error)(error.key, **named) from error


def _database(source: Source) -> Path:
    """Return the path of the database that a source is."""
    sources = [source] if isinstance(source, str | Path) else [*source]
    if len(sources) != 1 or not isinstance(sources[0], str | Path):
        raise UsageError("query_of_several")
    path = Path(sources[0])
    refuse_server(path)
    if not path.exists() and _FILE.match(str(path)):  # a path has not as many slashes as an address
        named = _FILE.sub("", str(path), count=1)
        path = next((one for one in (Path(named), Path(f"/{named}")) if one.exists()), Path(named))
    if not path.exists():
        raise DataError("source_missing", path=path)
    if kind_of(path) is None:
        raise UsageError("query_of_no_database", path=path)
    return path


# SQLite: each value has a type of its own


def _from_sqlite(path: Path, query: str, table: Path, on_progress: OnProgress) -> None:
    pieces: list[Path] = []
    rows = 0
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            cursor = database.execute(query)
            names = _names(path, cursor.description)
            while True:
                batch = cursor.fetchmany(_BATCH)
                if not batch and pieces:
                    break
                piece = table.with_name(f"{len(pieces)}.piece")
                _frame(path, names, batch).write_parquet(piece)
                pieces.append(piece)
                rows += len(batch)
                on_progress("read", rows, 0)
                if len(batch) < _BATCH:
                    break
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _failed(path, error) from error
    _join(pieces, table)


def _frame(path: Path, names: Sequence[str], rows: Sequence[Any]) -> pl.DataFrame:
    """Return a batch of rows; numbers stay numbers where all of a column are."""
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    made = {}
    for name, values in zip(names, columns, strict=True):
        kinds = {type(value) for value in values} - {type(None)}
        if bytes in kinds:
            raise DataError("query_type", path=path, column=name, type="BLOB")
        if kinds == {int, float} and all(
            abs(value) < _EXACT for value in values if isinstance(value, int)
        ):
            kinds = {float}
        if kinds == {int}:
            made[name] = pl.Series(values, dtype=pl.Int64)
        elif kinds == {float}:
            made[name] = pl.Series(values, dtype=pl.Float64)
        elif kinds:
            made[name] = pl.Series(list(map(spelled_one, values)), dtype=pl.String)
        else:
            made[name] = pl.Series(values, dtype=pl.Null)
    return pl.DataFrame(made)


def _join(pieces: Sequence[Path], table: Path) -> None:
    """Write batches as one table: what is a number in some and a text in others is a text."""
    frames = [pl.scan_parquet(piece) for piece in pieces]
    schemas = [frame.collect_schema() for frame in frames]
    types = {name: _type_of({schema[name] for schema in schemas}) for name in schemas[0]}
    cast = [
        frame.select(
            spelled(pl.col(name), schema[name]).alias(name)
            if dtype == pl.String and schema[name] != pl.String
            else pl.col(name).cast(dtype)
            for name, dtype in types.items()
        )
        for frame, schema in zip(frames, schemas, strict=True)
    ]
    pl.concat(cast).sink_parquet(table, maintain_order=True)
    for piece in pieces:
        piece.unlink()


def _type_of(types: set[pl.DataType]) -> pl.DataType:
    """Return the type that holds values of all types; texts where some are not null."""
    types = types - {pl.Null()}
    return types.pop() if len(types) == 1 else pl.String()


# DuckDB


def _from_duckdb(path: Path, query: str, table: Path) -> None:
    try:
        import duckdb
    except ImportError as error:
        facts = {"what": "--query", "extra": "database", "reason": error}
        raise UsageError("extra_missing", **facts) from error
    try:
        with duckdb.connect(str(path), read_only=True) as database:
            statements = database.extract_statements(query)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise DataError("query_without_rows", path=path)
            asked = statements[0].query.rstrip().rstrip(";")
            columns = database.execute(f"DESCRIBE {asked}").fetchall()
            _names(path, columns)
            for name, kind, *_ in columns:
                if _NOT_READ.match(kind):
                    raise DataError("query_type", path=path, column=name, type=kind)
            target = str(table).replace("'", "''")
            # A comment may end the query: its line must end, too.
            database.execute(f"COPY (\n{asked}\n) TO '{target}' (FORMAT parquet)")
    except duckdb.Error as error:
        raise _failed(path, error) from error


# Both


def _names(path: Path, columns: Sequence[Sequence[Any]] | None) -> list[str]:
    """Return the names of a query's columns; DataError where it has none, or one twice."""
    names = [str(column[0]) for column in columns or ()]
    if not names:
        raise DataError("query_without_rows", path=path)
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise DataError("query_column_twice", path=path, column=twice[0])
    return names


def _failed(path: Path, error: Exception) -> DataError:
    return DataError("query_failed", path=path, reason=str(error).partition("\n")[0])
