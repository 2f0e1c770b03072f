"""Sources in every layout give what the same interactions give in any other, or are refused."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.builders_data import Event, recbole_slowly, users_of, write_inter
from reprise.cli.main import cli
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.draft import Draft
from reprise.data.prepare import prepare, read_source
from reprise.data.readers import FORMATS
from reprise.data.readers.columns import Columns
from reprise.data.readers.format import NOTHING_ASKED, Asked
from reprise.data.readers.recognise import asked_of, get_format, read, recognise
from reprise.errors import DataError, RepriseError, UsageError

Write = Callable[[Path, Sequence[Event]], Path]


def random_events(seed: int, users: int = 40, items: int = 12) -> list[Event]:
    """Interactions of users come and gone, with ties in time and ids that are not ASCII."""
    rng = np.random.default_rng(seed)
    return [
        (f"ü{rng.integers(users)}", f"物{rng.integers(items)}", float(rng.integers(1, 30)))
        for _ in range(500)
    ]


def check(draft: Draft, events: Sequence[Event], ordered: bool = True) -> None:
    raw_items, users = recbole_slowly(events, ordered)
    assert draft.raw_items.to_list() == raw_items
    for split in SPLITS:
        assert users_of(draft, split) == users[split]


def text(events: Sequence[Event], header: str, separator: str, line_end: str = "\n") -> bytes:
    rows = [separator.join((user, item, str(int(time)))) for user, item, time in events]
    return line_end.join([*([header] if header else []), *rows, ""]).encode()


def frame(events: Sequence[Event]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "timestamp": [int(time) for _, _, time in events],
            "item_id": [item for _, item, _ in events],
            "user_id": [user for user, _, _ in events],
        }
    )


def rows_of(path: Path) -> list[Event]:
    """The interactions of a table, read."""
    text = pl.col("user", "item").cast(pl.String)
    return read(path, "table").frame.select(text, pl.col("time").cast(pl.Float64)).rows()


def write_csv(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text(events, "userId,movieId,timestamp", ",", "\r\n"))
    return path


def write_quoted_csv(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.csv"
    quoted = [(f'"{user}"', f'"{item}"', time) for user, item, time in events]
    path.write_bytes(text(quoted, '"user";"item";"time"', ";"))
    return path


def write_packed_tsv(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.tsv.gz"
    path.write_bytes(gzip.compress(text(events, "USER-ID\tItem Id\tTime", "\t")))
    return path


def write_zst(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.csv.zst"
    plain = pl.read_csv(text(events, "user,item,time", ","), infer_schema=False)
    plain.write_csv(path, compression="zstd", check_extension=False)
    return path


def write_parquet(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.parquet"
    frame(events).write_parquet(path)
    return path


def write_json_lines(folder: Path, events: Sequence[Event]) -> Path:
    path = folder / "clicks.jsonl"
    frame(events).write_ndjson(path)
    return path


def write_parts(folder: Path, events: Sequence[Event]) -> Path:
    parts = folder / "parts"
    parts.mkdir()
    for number, start in enumerate(range(0, len(events), 100)):
        frame(events[start : start + 100]).write_parquet(parts / f"part-{number:03}.parquet")
    return parts


def write_split_files(folder: Path, events: Sequence[Event]) -> Path:
    parts = folder / "parts"
    parts.mkdir()
    for name, start, end in (("train", 0, 300), ("dev", 300, 400), ("test", 400, None)):
        (parts / f"{name}.csv").write_bytes(text(events[start:end], "user_id,item_id,time", ","))
    return parts


def write_recbole(folder: Path, events: Sequence[Event]) -> Path:
    return write_inter(folder / "x.inter", events)


WRITERS: list[Write] = [
    write_csv,
    write_quoted_csv,
    write_packed_tsv,
    write_zst,
    write_parquet,
    write_json_lines,
    write_parts,
    write_split_files,
]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_is_read_whatever_holds_it(write: Write, seed: int, tmp_path: Path) -> None:
    events = random_events(seed)
    source = write(tmp_path, events)
    assert recognise(source) == "table"
    check(read_source(source), events, ordered=write is not write_parts)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
            st.sampled_from(["a", "β", "1", "01", "9223372036854775808", "x,y", 'q"', "- "]),
            st.integers(0, 2**40),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_text_is_an_id(rows: list[tuple[str, str, int]]) -> None:
    """Quoted where the format asks for it; ids are compared as they are written."""
    events = [(user, item.strip(), float(time)) for user, item, time in rows]
    with TemporaryDirectory() as name:
        path = Path(name) / "x.csv"
        frame(events).write_csv(path)
        assert rows_of(path) == events


def test_the_same_interactions_have_one_fingerprint(tmp_path: Path) -> None:
    events = random_events(3)
    made = set()
    for write in [*WRITERS, write_recbole]:
        if write is write_parts:  # whose order says nothing
            continue
        folder = tmp_path / write.__name__
        folder.mkdir()
        made.add(open_dataset(prepare(write(folder, events), "x", folder)).fingerprint)
    assert len(made) == 1


def test_columns_are_named_or_found(tmp_path: Path) -> None:
    events = random_events(4)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "wer,was,wann", ","))
    named = Asked(columns=Columns("wer", "was", "wann"))
    check(read_source(path, asked=named), events)
    path.write_bytes(text(events, "", ","))
    check(read_source(path, asked=Asked(columns=Columns("1", "2", "3"))), events)
    path.write_bytes(text(events, "wer,was,wann", ","))
    with pytest.raises(DataError, match=r"no column of the user; the columns are wer, was, wann"):
        read_source(path)
    with pytest.raises(UsageError, match=r"--item-col wass: .* Did you mean 'was'"):
        read_source(path, asked=Asked(columns=Columns("wer", "wass", "wann")))
    wide = [f"c{number}" for number in range(1000)]
    path.write_text(f"{','.join(wide)}\n{','.join(wide)}\n")
    with pytest.raises(DataError, match=r"the columns are c0, c1, .*, c18, c19, \.\.\.\. Name it"):
        read_source(path)


def test_dates_are_times(tmp_path: Path) -> None:
    days = ["2026-01-03", "2026-01-01", "2026-01-02", "2026-01-01 05:00:00", "2025-12-31T23:59:59"]
    path = tmp_path / "x.csv"
    path.write_text("user,item,date\n" + "".join(f"u,i{n},{day}\n" for n, day in enumerate(days)))
    times = [item for _, item, _ in sorted(rows_of(path), key=lambda row: row[2])]
    assert times == ["i4", "i1", "i3", "i2", "i0"]
    pl.read_csv(path, try_parse_dates=True).write_parquet(tmp_path / "x.parquet")
    rows_of(tmp_path / "x.parquet")


@pytest.mark.parametrize("timed", [True, False])
def test_a_row_a_user_is_what_an_engine_aggregated(tmp_path: Path, timed: bool) -> None:
    """Lists of items, with lists of times or in order; in folders below, as engines part them."""
    events = random_events(13)
    lists: dict[str, list[tuple[int, str]]] = {}
    for user, item, time in events:
        lists.setdefault(user, []).append((int(time), item))
    ordered = {user: sorted(pairs, key=lambda pair: pair[0]) for user, pairs in lists.items()}
    users = pl.DataFrame(
        {
            "user_id": list(ordered),
            "items": [[item for _, item in pairs] for pairs in ordered.values()],
            "times": [[time for time, _ in pairs] for pairs in ordered.values()],
        }
    )
    folder = tmp_path / "users"
    for number, start in enumerate(range(0, len(users), 15)):
        part = folder / f"bucket={number}" / "data_0.parquet"
        part.parent.mkdir(parents=True)
        users[start : start + 15].drop([] if timed else ["times"]).write_parquet(part)
    (folder / "_SUCCESS").touch()
    expected = [
        (user, item, float(time if timed else place))
        for user, pairs in ordered.items()
        for place, (time, item) in enumerate(pairs)
    ]
    check(read_source(folder), expected, ordered=False)


# Named layouts


def test_movielens_in_both_forms(tmp_path: Path) -> None:
    events = [
        (f"{user}", f"{item}", 5.0 * user + item) for user in range(1, 30) for item in range(6)
    ]
    movies = [(n, f"Amélie {n} (2001)", ["Drama|War", "Comedy", "War"][n % 3]) for n in range(6)]
    dat, csv = tmp_path / "dat", tmp_path / "csv"
    dat.mkdir()
    csv.mkdir()
    rows = [f"{user}::{item}::5::{int(time)}" for user, item, time in events]
    (dat / "ratings.dat").write_text("\n".join([*rows, ""]))
    lines = [f"{n}::{title}::{genres}\n" for n, title, genres in movies]
    (dat / "movies.dat").write_bytes("".join(lines).encode("latin-1"))
    rows = [f"{user},{item},5.0,{int(time)}" for user, item, time in events]
    (csv / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows, ""]))
    lines = [f'{n},"{title}",{genres}\n' for n, title, genres in movies]
    (csv / "movies.csv").write_text("movieId,title,genres\n" + "".join(lines))
    for source in (dat, dat / "ratings.dat", csv, csv / "ratings.csv"):
        assert recognise(source) == "movielens"
        draft = read_source(source)
        check(draft, events)
        assert draft.about_items is not None
        titles = dict(zip(draft.raw_items, draft.about_items["title"], strict=True))
        assert titles == {str(n): title for n, title, _ in movies}
        # Comedy, Drama, War: the first genre of each
        code = dict(zip(draft.raw_items, draft.item_category[1:].tolist(), strict=True))
        assert code == {str(n): [1, 0, 2][n % 3] for n in range(6)}


def test_recbole_items_have_categories_and_titles(tmp_path: Path) -> None:
    events = random_events(5)
    write_inter(tmp_path / "x.inter", events)
    (tmp_path / "x.item").write_text(
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\n物1\tUp and away\tDrama War\n"
    )
    draft = read_source(tmp_path)
    check(draft, events)
    row = draft.raw_items.to_list().index("物1")
    assert draft.about_items is not None
    assert draft.about_items.row(row, named=True) == {"title": "Up and away", "category": "Drama"}
    assert draft.item_category[row + 1] == 0
    assert (np.delete(draft.item_category, row + 1) == -1).all()


def test_taobao_counts_views_or_what_is_asked(tmp_path: Path) -> None:
    events = random_events(6)
    kinds = ["pv", "buy", "pv", "cart"]
    rows = [
        f"{user},{item},{len(item) + 40},{kinds[n % 4]},{int(time)}"
        for n, (user, item, time) in enumerate(events)
    ]
    path = tmp_path / "UserBehavior.csv"
    path.write_text("\n".join(rows))
    assert recognise(path) == recognise(tmp_path) == "taobao"
    check(read_source(path), events[::2])
    draft = read_source(tmp_path, asked=asked_of(behaviours="pv,buy,cart"))
    check(draft, events)
    assert set(draft.item_category[1:].tolist()) <= {42, 43}  # numbers stay what they are
    with pytest.raises(DataError, match=r"behaviour fav; there are buy, cart, pv\."):
        read_source(path, asked=asked_of(behaviours="fav"))


def lists_of_items() -> dict[str, list[int]]:
    rng = np.random.default_rng(7)
    return {str(user): rng.integers(1, 9, size=12).tolist() for user in range(1, 30)}


def in_order(lists: dict[str, list[int]]) -> list[tuple[str, str, float]]:
    return [
        (user, str(item), float(n)) for user, items in lists.items() for n, item in enumerate(items)
    ]


def a_line_a_user(lists: dict[str, list[int]]) -> str:
    return "".join(f"{user} {' '.join(map(str, row))}\n" for user, row in lists.items())


def test_sequences_a_line_a_user_or_a_line_a_pair(tmp_path: Path) -> None:
    lists = lists_of_items()
    events = in_order(lists)
    whole, pairs = tmp_path / "whole.txt", tmp_path / "pairs.txt"
    whole.write_text(a_line_a_user(lists))
    pairs.write_text("".join(f"{user} {item}\r\n" for user, item, _ in events))
    for source in (whole, pairs):
        assert recognise(source) == "sequences"
        check(read_source(source), events)


MARK = b"\xef\xbb\xbf"  # of the byte order, as some editors leave it at the front


def test_a_mark_in_front_of_sequences_is_no_part_of_them(tmp_path: Path) -> None:
    lists = lists_of_items()
    path = tmp_path / "x.txt"
    path.write_bytes(MARK + b"\n" + a_line_a_user(lists).encode())
    for source in (path, tmp_path):
        assert recognise(source) == "sequences"
        check(read_source(source), in_order(lists))


def test_a_mark_in_front_of_movielens_is_no_part_of_it(tmp_path: Path) -> None:
    events = [(f"{n % 30}", f"{n // 30}", float(n)) for n in range(300)]
    lines = [f"{user}::{item}::5::{int(time)}\n" for user, item, time in events]
    (tmp_path / "ratings.dat").write_bytes(MARK + "".join([*lines, "\n"]).encode())
    (tmp_path / "movies.dat").write_bytes(
        MARK + "".join(f"{n}::É {n}::War\n" for n in range(10)).encode()
    )
    draft = read_source(tmp_path)
    check(draft, events)
    assert draft.about_items is not None
    assert set(draft.about_items["title"]) == {f"É {n}" for n in range(10)}


def test_sequences_in_a_folder_are_read_and_never_guessed_beside_tables(tmp_path: Path) -> None:
    lists = lists_of_items()
    (tmp_path / "Beauty.txt").write_text(a_line_a_user(lists))
    (tmp_path / "README.txt").write_text("what this is\n")
    assert recognise(tmp_path) == "sequences"
    check(read_source(tmp_path), in_order(lists))
    attributes = tmp_path / "Beauty_item2attributes.json"
    attributes.write_text('{"1": [2, 3], "2": [4]}\n')
    with pytest.raises(DataError, match=r"Beauty.txt, Beauty_item2attributes.json .* Give that"):
        read_source(tmp_path)
    check(read_source(tmp_path, asked=asked_of("sequences")), in_order(lists))
    attributes.unlink()
    (tmp_path / "Sports.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match=r"found here: Beauty.txt, Sports.txt\. Give"):
        read_source(tmp_path)


AMAZON: dict[str, tuple[dict[str, str], str, list[Any]]] = {
    # of a year: names of the fields, the time's unit as digits behind seconds, the categories
    "2014": ({"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}, "", [["A", "B"]]),
    "2018": ({"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}, "", ["A", "B"]),
    "2023": ({"user": "user_id", "item": "parent_asin", "time": "timestamp"}, "000", ["A", "B"]),
}


@pytest.mark.parametrize("year", AMAZON)
def test_amazon_reviews_of_every_year(tmp_path: Path, year: str) -> None:
    names, unit, categories = AMAZON[year]
    events = random_events(8)
    reviews = [
        {
            "overall": 5.0,
            names["user"]: user,
            names["item"]: item,
            "helpful": [0, 1],
            "images": [{"large": "x"}],
            names["time"]: int(f"{int(time)}{unit}"),
        }
        | ({"asin": "another"} if year == "2023" else {})
        for user, item, time in events
    ]
    path = tmp_path / "Books.jsonl.gz"
    lines = "".join(json.dumps(review) + "\n" for review in reviews)
    path.write_bytes(gzip.compress(lines.encode()))
    field = "category" if year == "2018" else "categories"
    about = [
        {names["item"]: f"物{n}", "title": f"It's {n}", "price": 3, field: categories}
        for n in range(12)
    ]
    dump: Callable[[Any], str] = repr if year == "2014" else json.dumps
    (tmp_path / "meta_Books.jsonl").write_text("".join(dump(one) + "\n" for one in about))
    for source in (path, tmp_path):
        draft = read_source(source)
        check(draft, events)
        assert draft.about_items is not None
        assert draft.about_items["category"].unique().to_list() == ["B"]
        titles = {f"It's {raw.removeprefix('物')}" for raw in draft.raw_items}
        assert set(draft.about_items["title"]) == titles


def write_amazon(folder: Path, *about: str) -> Path:
    """A folder of 30 users' reviews of items 0..9, and metadata of these lines."""
    reviews = [{"reviewerID": f"{n % 30}", "asin": f"{n // 30}", "time": n} for n in range(300)]
    (folder / "x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in reviews))
    (folder / "meta_x.jsonl").write_text("".join(f"{line}\n" for line in about))
    return folder


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ("[['A', 'B'], ['C']]", "B"),
        ("['A', 'Books']", "Books"),
        ("'Books'", "Books"),
        ("[[7, 8]]", "8"),
        ("[]", None),
        ("[[]]", None),
        ("None", None),
    ],
)
def test_amazon_categories_of_any_shape(
    categories: str, expected: str | None, tmp_path: Path
) -> None:
    """One item that lacks them, or whose asin is a number, does not cost the others theirs."""
    about = f"{{'asin': 3, 'categories': {categories}}}"
    draft = read_source(write_amazon(tmp_path, "{'asin': '0', 'categories': [['Z']]}", "", about))
    assert draft.about_items is not None
    found = dict(zip(draft.raw_items, draft.about_items["category"], strict=True))
    assert (found["0"], found["3"], found["1"]) == ("Z", expected, None)


@pytest.mark.parametrize(
    "line",
    [
        "['asin']",
        "3",
        "{'asin': ['1']}",
        "{'title': 'a'}",
        "{'asin': '1', 'title': {}}",
        "{'asin': '1', 'categories': [[{}]]}",
        "{'asin': '1'",
        "{'asin': f()}",
        "{[]: 1}",
        "[" * 5000 + "]" * 5000,
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_none_of_an_amazon_item_is_named(line: str, tmp_path: Path) -> None:
    folder = write_amazon(tmp_path, "{'asin': '0'}", line)
    assert "meta_x.jsonl, line 2: expected a record with a text 'asin'" in refusal(folder)


def test_every_format_is_named_and_asked_for_by_name(tmp_path: Path) -> None:
    assert all(get_format(name).recognises for name in FORMATS)
    events = random_events(9)
    path = tmp_path / "UserBehavior.csv"  # which it is not
    path.write_bytes(text(events, "user,item,time", ","))
    check(read_source(path, asked=Asked("table")), events)
    with pytest.raises(UsageError, match="format = 'libsvm' is not possible"):
        read_source(path, asked=Asked("libsvm"))


# Bad input: each named with its file, its row, and the mend


def refusal(path: Path, asked: Asked = NOTHING_ASKED) -> str:
    with pytest.raises(RepriseError) as caught:
        read_source(path, asked=asked)
    assert caught.value.exit_code in (2, 3)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("u,,5", "the item is ''; expected an id"),
        (" ,i,5", "the user is ' '; expected an id"),
        ("u,i,", "the time is ''"),
        ("u,i,nan", "the time is 'nan'"),
        ("u,i,inf", "the time is 'inf'"),
        ("u,i,-3", "the time is '-3'"),
        ("u,i,1e300", "the time is '1e300'"),
        ("u,i,soon", "the time is 'soon'; expected a time: a number from 0, or a date"),
        ("u,i", "the time is ''"),
    ],
)
def test_a_bad_value_is_named_with_its_row(tmp_path: Path, row: str, found: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"user,item,time\nu,i,1\n{row}\nu,,nan\n")
    said = refusal(path)
    assert f"{path}, row 3: {found}" in said
    assert "Mend or remove the row." in said


@pytest.mark.parametrize("good_rows", [0, 1, 1500])
@pytest.mark.parametrize("bad", [",,soon", "u,i,soon", "u,i,-1", "u,i,1.5.2", "u,i,2026-11-27"])
def test_a_bad_value_is_found_wherever_it_stands(tmp_path: Path, good_rows: int, bad: str) -> None:
    """Among the rows that decide how columns are read, or behind them; blank lines are skipped."""
    path = tmp_path / "x.csv"
    path.write_text("user,item,time\n" + "u,i,1\n\n" * good_rows + f"{bad}\nu,i,1\nu,i,1\n")
    said = refusal(path)
    assert f"{path}, row {2 * good_rows + 2}: the " in said
    assert repr(bad.split(",")[0 if bad.startswith(",") else 2]) in said


def test_blank_lines_and_windows_line_ends_say_nothing(tmp_path: Path) -> None:
    events = random_events(11)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "user,item,time", ",", "\r\n") + b"\r\n\r\n")
    check(read_source(path), events)


@pytest.mark.parametrize("separator", [",", "\t", "::"])
def test_a_file_cut_in_the_middle_of_a_row_is_named(tmp_path: Path, separator: str) -> None:
    name, header = {"::": ("ratings.dat", "")}.get(separator, ("x.csv", "user,item,time"))
    rows = [
        (user, item, "5", "9") if separator == "::" else (user, item, "9")
        for user, item, _ in random_events(12)
    ]
    lines = [*([header.replace(",", separator)] if header else []), *map(separator.join, rows)]
    path = tmp_path / name
    path.write_text("\n".join(lines)[: -len(separator) - 1])
    assert str(path) in (said := refusal(path))
    assert f" {len(lines)}: " in said


def test_ids_of_64_bits_stay_apart(tmp_path: Path) -> None:
    events = [(str(2**63 - 1 - n % 3), str(2**64 + n % 7), float(n)) for n in range(300)]
    events += [(user.replace("9", "8"), item, time) for user, item, time in events]
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "user,item,time", ","))
    assert rows_of(path) == events
    numbers = pl.DataFrame(
        {"user": [2**63 - 1, 5, 2**63 - 2], "item": [-1, 1, 0], "time": [1, 2, 3]}
    )
    numbers.write_parquet(tmp_path / "x.parquet")
    assert [row[:2] for row in rows_of(tmp_path / "x.parquet")] == [
        (str(2**63 - 1), "-1"),
        ("5", "1"),
        (str(2**63 - 2), "0"),
    ]


def test_ids_are_compared_as_they_are_written(tmp_path: Path) -> None:
    """Also where all could be numbers but one."""
    for odd in ("01", "1.0", "+1", "x", "1e0"):
        events = [(f"{n % 5 + 1}", f"{n % 4}", float(n)) for n in range(2000)]
        events += [(odd, "1", 1.0)]
        path = tmp_path / "x.csv"
        path.write_bytes(text(events, "user,item,time", ","))
        assert rows_of(path) == events


def test_missing_values_of_parquet_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    good: dict[str, list[Any]] = {"user": [1.0, 2.0], "item": ["a", "b"], "time": [1.0, 2.0]}
    for column in good:
        bad = {**good, column: [good[column][0], None]}
        pl.DataFrame(bad).write_parquet(path)
        assert f"{path}, row 2: the {column} is ''" in refusal(path)
    for column in ("user", "time"):
        pl.DataFrame({**good, column: [1.0, float("nan")]}).write_parquet(path)
        assert f"{path}, row 2: the {column} is 'nan'" in refusal(path)


def test_a_row_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,time\nu,i,1\nu,i,1,9\n")
    assert f"{path}, line 3: expected as many fields as line 1" in refusal(path)


def write_bytes(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "x.csv").write_bytes(content)
        return folder / "x.csv"

    return write


def write_two_kinds(folder: Path) -> Path:
    (folder / "a.csv").write_text("user,item,time\nu,i,1\n")
    (folder / "b.jsonl").write_text("{}\n")
    return folder


def write_cut_json(folder: Path) -> Path:
    (folder / "x.jsonl").write_text('{"user": "u", "item": "i", "time": 1}\n{"user": "u", "it')
    return folder / "x.jsonl"


def write_no_json(folder: Path) -> Path:
    (folder / "x.jsonl").write_text("user,item,time\n")
    return folder / "x.jsonl"


def write_deep_json(folder: Path) -> Path:
    deep = "[" * 5000 + "]" * 5000
    (folder / "x.jsonl").write_text(f'{{"user": "u", "item": "i", "time": {deep}}}\n')
    return folder / "x.jsonl"


def write_json_list(folder: Path) -> Path:
    (folder / "x.jsonl").write_text("[1]\n")
    return folder / "x.jsonl"


def write_cut_gzip(folder: Path) -> Path:
    whole = gzip.compress(text(random_events(0), "user,item,time", ","))
    (folder / "x.csv.gz").write_bytes(whole[: len(whole) // 2])
    return folder / "x.csv.gz"


def write_cut_parquet(folder: Path) -> Path:
    path = write_parquet(folder, random_events(0))
    path.write_bytes(path.read_bytes()[:-20])
    return path


def write_lists_for_ids(folder: Path) -> Path:
    pl.DataFrame({"user": [[1]], "item": [1], "time": [1]}).write_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def write_bad_dat(folder: Path) -> Path:
    (folder / "ratings.dat").write_text("1::2::5::3\n1::2::5\n")
    return folder


def write_lonely_user(folder: Path) -> Path:
    (folder / "x.txt").write_text("1 2 3\n4 5\n6\n")
    return folder / "x.txt"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_bytes(b""), "x.csv"),
        (write_bytes(b"user,item,time\n"), "x.csv: no interactions."),
        (write_bytes(b"user,item,time\nu,\xff\xfe,1\n"), "x.csv: cannot be read as text"),
        (write_bytes(b"user item time\nu i 1\n"), "no column of the user"),
        (write_bytes(b"user,item,time\nu,i,1\n"), "The train split is empty"),  # one user, one item
        (write_two_kinds, "must be of one kind, found a.csv, b.jsonl"),
        (write_cut_json, "x.jsonl, line 2: expected a JSON object"),
        (write_no_json, "x.jsonl, line 1: expected a JSON object"),
        (write_json_list, "x.jsonl, line 1: expected a JSON object"),
        (write_deep_json, "x.jsonl, line 1: expected a JSON object"),
        (write_cut_gzip, "x.csv.gz"),
        (write_cut_parquet, "clicks.parquet: cannot be read"),
        (write_lists_for_ids, "row 1: the user is "),
        (write_bad_dat, "ratings.dat, line 2: expected user::item::...::time"),
        (write_lonely_user, "x.txt, line 3: expected a user and his items"),
    ],
)
def test_bad_sources_are_named(tmp_path: Path, write: Callable[[Path], Path], said: str) -> None:
    assert said in refusal(write(tmp_path))


def test_a_source_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """As one without rights to it is told: root, who may read anything, is told nothing."""
    path = write_csv(tmp_path, random_events(0))
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        assert str(path) in refusal(path)
    else:
        pytest.skip("this user may read everything")


def test_repeated_rows_stay(tmp_path: Path) -> None:
    """A user meets an item again: a row repeated is no mistake."""
    events = random_events(2)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events + events, "user,item,time", ","))
    check(read_source(path), events + events)


def test_the_command_tells_what_it_read(tmp_path: Path) -> None:
    events = random_events(1)
    path = tmp_path / "x.csv"
    path.write_bytes(text(events, "wer,was,time", ","))
    given = ["prepare", str(path), "--name", "x", "--data-dir", str(tmp_path / "data")]
    done = CliRunner().invoke(cli, [*given, "--user-col", "wer", "--item-col", "was"])
    assert done.exit_code == 0, done.output
    dataset = open_dataset(tmp_path / "data" / "x")
    assert dataset.meta["source"]["format"] == "table"
    failed = CliRunner().invoke(cli, [*given[:-1], str(tmp_path / "other"), "--user-col", "wer"])
    assert isinstance(failed.exception, DataError)
    assert not (tmp_path / "other" / "x").exists()
