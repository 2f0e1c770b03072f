"""Delimited text: the same rows as Python's csv, or an error that names the bad line."""

import csv
import gzip
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.data.readers import delimited
from reprise.data.readers.columns import ROW
from reprise.data.readers.dialect import Dialect
from reprise.errors import DataError

Rows = list[list[str]]


def rows_of(path: Path, header: bool, dialect: Dialect) -> tuple[delimited.Layout, Rows, list[int]]:
    """The rows of a text as they are scanned, and their numbers."""
    layout = delimited.look(path, header, dialect)
    frame = delimited.scan(path, layout).collect(engine="streaming")
    rows = [["" if field is None else field for field in row[1:]] for row in frame.rows()]
    return layout, rows, frame[ROW].to_list()


def oracle(content: bytes, separator: str, quote: str) -> Rows:
    """What Python's csv reads, blank lines left out."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    if quote:
        rows = csv.reader(text, delimiter=separator, quotechar=quote)
    else:
        rows = csv.reader(text, delimiter=separator, quoting=csv.QUOTE_NONE)
    return [row for row in rows if len(row) > 1 or any(map(str.strip, row))]


# Pieces that make trouble, and what does not.
_TIDY = st.sampled_from(["a", "7", "", " ", '""', '"a"', '"a,b"', '"a""b"', '"a\nb"', '"\r"', "é"])
_FIELDS = st.one_of(
    st.sampled_from(["a", "7", "", " ", 'x"y', '"', '""', '"a"', '"a,b"', '"a""b"', '"a\nb"', "é"]),
    st.text(alphabet='ab,"\n\r\t 7', max_size=4),
)
_LINES = st.sampled_from([_TIDY, _FIELDS]).flatmap(
    lambda fields: st.lists(st.lists(fields, min_size=3, max_size=3), min_size=1, max_size=8)
)
_MEND = st.sampled_from(["", "", "", "\n", "\n\n", '"', "\r", ",", "\r\n"])


@given(
    lines=_LINES,
    end=st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    place=st.integers(0, 200),
    piece=_MEND,
    header=st.booleans(),
    quote=st.sampled_from([None, None, '"', ""]),
    block=st.sampled_from([3, 17, 1 << 20]),
)
@example([["a", "b", "c"], ['"', "b", "c"], ["a", '"', "c"]], "\n", b"", 0, "", True, None, 17)
@examples(500)
def test_scan_reads_the_rows_of_csv_or_names_the_line(
    lines: list[list[str]],
    end: str,
    mark: bytes,
    place: int,
    piece: str,
    header: bool,
    quote: str | None,
    block: int,
) -> None:
    text = end.join([",".join(line) for line in lines]) + end
    text = text[:place] + piece + text[place:]
    content = mark + text.encode()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK", block)
        delimited._look.cache_clear()
        path = Path(folder) / "x.csv"
        path.write_bytes(content)
        refused = None
        try:
            layout, rows, _ = rows_of(path, header, Dialect(",", quote))
        except DataError as error:
            refused = error
        if refused is not None:
            if text.strip():
                assert 1 <= refused.values["line"] <= text.count("\n") + text.count("\r") + 1
            else:
                assert refused.key == "no_interactions"
            return
        expected = oracle(content, layout.separator, layout.quote)
        assert len({len(row) for row in expected}) == 1
        names = expected.pop(0) if header else None
        assert rows == expected
        if names is not None:
            assert [name.partition("\0")[0] for name in layout.names] == [*map(str.strip, names)]
        if not layout.quote and quote is None and '"' in text:
            # Nothing is quoted: csv would read the same, refuses it, or takes rows for a field.
            as_csv = oracle(content, layout.separator, '"')[int(header) :]
            assert as_csv == rows or len(as_csv) < len(rows) or _is_refused(content)


def _is_refused(content: bytes) -> bool:
    """Whether csv refuses a text where it is strict, or reads rows of several lengths."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    try:
        return len({len(row) for row in csv.reader(text, strict=True)} - {0}) > 1
    except csv.Error:
        return True


@given(lines=_LINES, needed=st.sets(st.integers(0, 2), min_size=1))
@examples(100)
def test_scan_returns_the_same_rows_whichever_columns_are_needed(
    lines: list[list[str]], needed: set[int]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_text("\n".join([",".join(line) for line in lines]) + "\n", newline="")
        try:
            layout = delimited.look(path, False, Dialect(","))
        except DataError:
            return
        names = [layout.names[place] for place in sorted(needed) if place < len(layout.names)]
        rows = delimited.scan(path, layout)
        whole = rows.collect(engine="streaming").select(names)
        assert rows.select(names).collect(engine="streaming").equals(whole)


def write(folder: Path, content: str | bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("u,i,1,a|b|c|d|e\nv,i,2,a|b|c|d|e\n", ","),
        ("u\x01i\x011\nv\x01j\x012\n", "\x01"),
        ("user;item;time\nu;1,5;3\nv;2,5;4\n", ";"),
        ("user\titem\ttitle, or name\nu\ti\ta\n", "\t"),
        ("user|item|time\nu|i|1\n", "|"),
        ('user,item,title\nu,i,"a\tb\tc"\n', ","),
        ("1;2,5;3\n4;2,5;6\n", ";"),
    ],
)
def test_look_finds_the_separator_that_splits_lines_alike(
    tmp_path: Path, content: str, separator: str
) -> None:
    assert delimited.look(write(tmp_path, content), True).separator == separator


@pytest.mark.parametrize(
    ("content", "quote"),
    [
        ('a,b,c\n1,"x, y",2\n', '"'),
        ('a,b,c\n1,24",2\n', ""),
        ('a,b,c\n1,"x" of y,2\n', ""),  # a dump
        ('a,b,c\n1,2,"x\n1,2,"y\n', ""),
        ('a,b,c\n1,2,"x\n3,4,y"\n', ""),  # what is between the quotes looks like rows
        ('a,b,c\n1,2,"x\ny"\n', '"'),
    ],
)
def test_look_finds_the_quote(tmp_path: Path, content: str, quote: str) -> None:
    assert delimited.look(write(tmp_path, content), True).quote == quote


def test_look_takes_the_quote_as_given(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c\n1,2,\"x\n3,4,y\"\n'1,5',2,3\n")
    _, rows, _ = rows_of(path, True, Dialect(quote="'"))
    assert rows == [["1", "2", '"x'], ["3", "4", 'y"'], ["1,5", "2", "3"]]
    path = write(tmp_path, 'a,b,c\n1,2,"x\n3,4,y"\n', "y.csv")
    assert rows_of(path, True, Dialect(quote='"'))[1] == [["1", "2", "x\n3,4,y"]]
    with pytest.raises(DataError, match=r"line 2: a quoted field .* --quote none"):
        delimited.look(write(tmp_path, 'a,b,c\n1,2,"x"y\n'), True, Dialect(quote='"'))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "gb18030"])
def test_look_takes_the_encoding_from_a_mark_or_as_given(tmp_path: Path, encoding: str) -> None:
    title = "茶" if encoding == "gb18030" else "thé"
    path = write(tmp_path, f"user,item,title\nu,i,{title}\n".encode(encoding))
    marked = encoding in ("utf-16", "utf-8-sig")
    _, rows, _ = rows_of(path, True, Dialect(encoding=None if marked else encoding))
    assert rows == [["u", "i", title]]
    if not marked:
        with pytest.raises(DataError, match=r"line 2: not valid utf-8.*--encoding"):
            delimited.look(path, True)


@pytest.mark.parametrize("blank", ["", "\n", "\r\n\r\n", "  \n"])
@pytest.mark.parametrize("inside", ["", "\n"])
def test_scan_numbers_rows_by_their_lines(tmp_path: Path, blank: str, inside: str) -> None:
    path = write(tmp_path, f"a,b\n1,2\n{inside}3,4\n{blank}")
    _, rows, numbers = rows_of(path, True, Dialect())
    assert rows == [["1", "2"], ["3", "4"]]
    assert numbers == [2, 3 + len(inside)]


def test_look_reads_a_compressed_text_as_a_plain_one(tmp_path: Path) -> None:
    content = b'a,b,c\n1,2,24"\n3,4,5\n' * 2000
    plain, packed = write(tmp_path, content), write(tmp_path, gzip.compress(content), "x.csv.gz")
    assert rows_of(plain, False, Dialect())[1:] == rows_of(packed, False, Dialect())[1:]
    bad = gzip.compress(content + b"1,2\n")
    with pytest.raises(DataError, match=r"line 6001: expected as many fields"):
        delimited.look(write(tmp_path, bad, "y.csv.gz"), False)


def test_look_reads_a_long_text_to_its_end(tmp_path: Path) -> None:
    """Over several blocks, whose ends fall anywhere, quotes among them."""
    body = [f'{n},"a, {n}\nb",{n}' if n % 3 else f"{n},plain,{n}" for n in range(200_000)]
    path = write(tmp_path, "\n".join(["a,b,c", *body]))
    layout, rows, _ = rows_of(path, True, Dialect())
    assert layout.plain
    assert len(rows) == len(body)
    assert rows[1::3] == [[str(n), f"a, {n}\nb", str(n)] for n in range(1, 200_000, 3)]
    lines = sum(row.count("\n") + 1 for row in body)
    with pytest.raises(DataError, match=re.escape(f"line {lines + 2}: expected as many fields")):
        delimited.look(write(tmp_path, "\n".join(["a,b,c", *body, "1,2"]), "y.csv"), True)
