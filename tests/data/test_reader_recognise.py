"""Every format can be requested by name; a path in no format is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.builders_data import (
    INTER_HEADER,
)
from helpers.sources import check, random_events, refused, text
from reprise.data.prepare import read_source
from reprise.data.readers import FORMATS
from reprise.data.readers.format import Asked
from reprise.data.readers.recognise import get_format
from reprise.errors import UsageError


@pytest.mark.parametrize("name", FORMATS)
def test_format_has_either_read_or_read_split(name: str) -> None:
    readers = get_format(name)
    assert (readers.read is None) != (readers.read_split is None)


def test_read_source_takes_the_format_by_name(tmp_path: Path) -> None:
    events = random_events(9)
    path = tmp_path / "UserBehavior.csv"  # which it is not
    path.write_bytes(text(events, "user,item,time", ","))
    check(read_source(path, asked=Asked("table")), events)
    with pytest.raises(UsageError, match="format = 'libsvm' is invalid"):
        read_source(path, asked=Asked("libsvm"))


def make_nothing(path: Path) -> None:
    """Leave the path missing."""


def make_two_inter_files(path: Path) -> None:
    path.mkdir()
    (path / "a.inter").write_text(INTER_HEADER)
    (path / "b.inter").write_text(INTER_HEADER)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (make_nothing, "source_missing"),
        (Path.mkdir, "unknown_format"),
        (make_two_inter_files, "one_inter_needed"),
        (Path.touch, "unknown_format"),
    ],
    ids=["missing", "empty folder", "two inter files", "a file of no known suffix"],
)
def test_read_source_names_a_path_that_is_no_source(
    tmp_path: Path, make: Callable[[Path], None], key: str
) -> None:
    path = tmp_path / "source"
    make(path)
    error = refused(path)
    assert error.key == key
    assert str(path) in str(error)
