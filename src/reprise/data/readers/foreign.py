"""Refuse files and folders that are not read, with a command that writes them as Parquet."""

import json
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from reprise.data.files import beginning_of, entries_of
from reprise.data.readers import database
from reprise.errors import DataError

# To be unpacked by the user: these cannot be scanned.
_PACKED = frozenset(".7z .bz2 .deflate .lz4 .lzo .rar .snappy .tar .tgz .xz .zip".split())


class _Way(NamedTuple):
    """A way to convert a file: a line of Python that writes SOURCE as TARGET, the modules that it
    imports, and the packages to install for it.
    """

    code: str
    modules: str = "polars"
    packages: str = ""


def _polars(reader: str, packages: str = "") -> _Way:
    return _Way(f"polars.{reader}(SOURCE).write_parquet(TARGET)", packages=packages)


def _polars_lazily(reader: str, packages: str) -> _Way:
    return _Way(f"polars.{reader}(SOURCE).sink_parquet(TARGET)", packages=packages)


def _pandas(reader: str, packages: str) -> _Way:
    return _Way(f"pandas.{reader}(SOURCE).to_parquet(TARGET)", "pandas", packages)


def _pyarrow(module: str) -> _Way:
    code = f"pyarrow.parquet.write_table({module}.read_table(SOURCE), TARGET)"
    return _Way(code, f"{module}, pyarrow.parquet", "pyarrow")


_ORC = _pyarrow("pyarrow.orc")
_BY_NAME = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsb", ".ods"), _polars("read_excel", "fastexcel")),
    **dict.fromkeys((".pkl", ".pickle"), _pandas("read_pickle", "pandas pyarrow")),
    **dict.fromkeys((".h5", ".hdf", ".hdf5"), _pandas("read_hdf", "pandas tables pyarrow")),
    ".avro": _polars("read_avro"),
    ".orc": _ORC,
}
# By first bytes, for files that engines write without a suffix, and for .arrow.
_BY_CONTENT = {
    b"ORC": _ORC,
    b"FEA1": _pyarrow("pyarrow.feather"),
    b"\xff\xff\xff\xff": _polars("read_ipc_stream"),
}
_DATABASES = (".db", ".sqlite", ".sqlite3", ".duckdb")
# Folders whose log tells which files count: by what holds it, and its name.
_LAKES = {
    ("", "_delta_log"): ("Delta Lake", _polars_lazily("scan_delta", "deltalake")),
    ("metadata", "*.metadata.json"): (
        "Iceberg",
        _polars_lazily("scan_iceberg", "pyiceberg pyarrow"),
    ),
    ("", ".hoodie"): ("Hudi", None),
}


def is_foreign(path: Path) -> bool:
    """Whether a file's type is not read: by its suffix, or by its first bytes without one."""
    if not path.suffix:
        return is_of_another_kind(path)
    return _is_packed(path) or path.suffix.lower() in (*_BY_NAME, *_DATABASES)


def refuse(path: Path) -> None:
    """Raise DataError if a file, or any file in a folder, is of a type that is not read."""
    files = sorted(path.rglob("[!._]*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file() and is_foreign(file):
            raise refusal(file)


def refusal(path: Path) -> DataError:
    """Return the error for a file that is not read, with the command that converts it."""
    if path.suffix.lower() in _DATABASES or database.kind_of(path) is not None:
        return DataError("database_file", path=path, table=_table(path))
    way = None if _is_packed(path) else _way(path)
    if way is None:
        return DataError("packed_otherwise", path=path)
    return DataError("foreign_file", path=path, line=_line(way, path, path.with_suffix(".parquet")))


def _line(way: _Way, source: Path, target: Path) -> str:
    """Return the command."""
    code = way.code
    for name, value in (("SOURCE", source), ("TARGET", target)):
        code = code.replace(name, json.dumps(str(value), ensure_ascii=False))
    line = f"python -c {shlex.quote(f'import {way.modules}; {code}')}"
    return f"pip install {way.packages} && {line}" if way.packages else line


def refuse_lake(folder: Path) -> None:
    """Raise DataError where a log tells which of a folder's files count."""
    for (inner, sign), (kind, way) in _LAKES.items():
        logs = [path for path in entries_of(folder / inner) if path.match(sign)]
        if not logs:
            continue
        target = folder.absolute().with_name(f"{folder.absolute().name}.snapshot.parquet")
        if way is None:
            line = f"spark.read.format('hudi').load({str(folder)!r}).write.parquet({str(target)!r})"
        else:
            line = _line(way, max(logs, key=_version) if inner else folder, target)
        raise DataError("lake_folder", path=folder, kind=kind, line=line)


def _version(log: Path) -> int:
    """Return the number of a version, which the name of its file begins with: v3, 00003-..."""
    number = re.search(r"\d+", log.name)
    return int(number[0]) if number else -1


def is_of_another_kind(path: Path) -> bool:
    """Whether a file's first bytes are of a type that is not read, whatever its suffix."""
    return _by_content(path) is not None or database.kind_of(path) is not None


def _is_packed(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    return name.suffix.lower() in _PACKED


def _way(path: Path) -> _Way | None:
    return _by_content(path) or _BY_NAME.get(path.suffix.lower())


def _by_content(path: Path) -> _Way | None:
    head = beginning_of(path)
    return next((way for begin, way in _BY_CONTENT.items() if head.startswith(begin)), None)


def _table(path: Path) -> str:
    """Return the name of a SQLite database's only table, or the placeholder TABLE."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            rows = opened.execute("SELECT name, type FROM sqlite_master").fetchall()
            names = [name for name, kind in rows if kind in ("table", "view")]
    except sqlite3.Error:
        names = []
    return str(names[0]) if len(names) == 1 else "TABLE"
