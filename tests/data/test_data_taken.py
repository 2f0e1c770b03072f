"""`prepare` reads every row of a source in the right order, or reports in one line why not."""

import gzip
import json
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.builders_data import write_comirec
from helpers.commands import Done, check_refusal, reprise
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.prepare import prepare
from reprise.data.readers.recognise import asked_of
from reprise.errors import RepriseError
from reprise.text.messages import Messages

START = 1_600_000_000
# Three users who meet six items one after another: what a user's test sequence should be.
ROWS = [
    (f"u{user}", f"i{item}", START + 60 * (3 * item + user))
    for item in range(6)
    for user in range(3)
]
ITEMS = [f"i{item}" for item in range(6)]


def prepared(source: Path, **asked: Any) -> Dataset:
    """The data set of a source, everything kept, leave-one-out."""
    told, data = asked_of(**asked), source.parent / "data"
    made = prepare(source, source.name, data, "leave-one-out", 1, told, overwrite=True)
    return open_dataset(made)


def sequences(data: Dataset) -> dict[str, list[str]]:
    """Each test user's items by their own ids, oldest first."""
    raw = ["", *pl.read_parquet(data.folder / "items.parquet")["raw_id"]]
    own = data.splits["test"]
    return {
        user: [raw[item] for item in own.items[own.offsets[n] : own.offsets[n + 1]]]
        for n, user in enumerate(data.raw_users("test"))
    }


EVERYONE = {f"u{user}": ITEMS for user in range(3)}


def made_of(source: Path, *options: str) -> Done:
    """What the command line says that prepares a source as the data set x beside it."""
    own = (
        "--data-dir",
        source.parent,
        "--protocol",
        "leave-one-out",
        "--k-core",
        1,
        "--lang",
        "en",
    )
    return reprise("prepare", source, "--name", "x", *own, *options)


def refusal(source: Path, **asked: Any) -> str:
    with pytest.raises(RepriseError) as caught:
        prepared(source, **asked)
    return str(caught.value)


def write(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], sep: str = ","
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [sep.join(map(str, row)) for row in ([header, *rows] if header else rows)]
    path.write_text("\n".join([*lines, ""]))
    return path


HEADER = ("user_id", "item_id", "timestamp")


def frame(rows: Sequence[Sequence[object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, list(HEADER), orient="row")


def source_of(data: Dataset) -> dict[str, Any]:
    source: dict[str, Any] = data.meta["source"]
    return source


# Rows


@pytest.mark.parametrize("stray", [(3,), (3, 8)])  # an odd and an even number of quotes
def test_prepare_reads_rows_between_stray_quotes(tmp_path: Path, stray: tuple[int, ...]) -> None:
    titles = ['Monitor 24"' if place in stray else "Mug" for place in range(len(ROWS))]
    rows = [(*row, title) for row, title in zip(ROWS, titles, strict=True)]
    data = prepared(write(tmp_path / "shop.csv", (*HEADER, "product_name"), rows))
    assert sequences(data) == EVERYONE
    assert source_of(data)["read"]["interactions"] == len(ROWS)


@pytest.mark.parametrize("title", ["Mug, 7", "Mug\x00", 'Mug" , 7'])
def test_prepare_refuses_a_row_of_more_fields_whichever_columns_it_needs(
    tmp_path: Path, title: str
) -> None:
    rows = [(user, "Mug", item, time, 9) for user, item, time in ROWS]
    rows[7] = (rows[7][0], title, *rows[7][2:])
    path = write(tmp_path / "shop.csv", ("user_id", "name", "item_id", "timestamp", "price"), rows)
    if title.count(","):
        assert f"{path}, line 9: expected as many fields as line 1" in refusal(path)
    else:
        assert sequences(prepared(path)) == EVERYONE


@pytest.mark.parametrize("quote", ["", '"'])
def test_prepare_reads_all_items_of_metadata_with_quotes(tmp_path: Path, quote: str) -> None:
    about = [(item, f"c{n % 2}", f"{n}{quote} wide") for n, item in enumerate(ITEMS)]
    write(tmp_path / "x_meta.csv", ("item_id", "category", "title"), about)
    data = prepared(write(tmp_path / "x.csv", HEADER, ROWS))
    told = pl.read_parquet(data.folder / "items.parquet").sort("raw_id")
    assert told.select("raw_id", "category", "title").rows() == about
    assert source_of(data)["taken"]["items_told"] == len(ITEMS)


@pytest.mark.parametrize("quote", ["", '"'])
def test_prepare_reads_quotes_in_atomic_files_as_text(tmp_path: Path, quote: str) -> None:
    header = ("user_id:token", "item_id:token", "timestamp:float")
    write(tmp_path / "r" / "x.inter", header, ROWS, "\t")
    about = [(item, f'{quote}24" wide', "a b") for item in ITEMS]
    names = ("item_id:token", "title:token_seq", "class:token_seq")
    write(tmp_path / "r" / "x.item", names, about, "\t")
    told = pl.read_parquet(prepared(tmp_path / "r").folder / "items.parquet")
    assert set(told["title"]) == {f'{quote}24" wide'}
    assert set(told["category"]) == {"a"}


def test_prepare_reads_benchmark_files_in_the_order_of_their_splits(tmp_path: Path) -> None:
    header = ("user_id:token", "item_id:token", "timestamp:float")
    for name, part in (("test", ROWS[15:]), ("train", ROWS[:12]), ("valid", ROWS[12:15])):
        write(tmp_path / "r" / f"toy.{name}.inter", header, part, "\t")
    data = prepared(tmp_path / "r")
    assert sequences(data) == EVERYONE
    assert source_of(data)["taken"]["files"] == [
        f"toy.{n}.inter" for n in ("train", "valid", "test")
    ]
    write(tmp_path / "r" / "other.inter", header, ROWS, "\t")
    assert "found: other.inter, toy.test.inter" in refusal(tmp_path / "r")


# Times


def dates(rows: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, datetime]]:
    return [(user, item, datetime.fromtimestamp(time, UTC)) for user, item, time in rows]


def test_prepare_refuses_numbers_in_one_part_and_dates_in_another(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    frame(dates(ROWS[:9])).write_parquet(tmp_path / "parts" / "old.parquet")
    frame(ROWS[9:]).write_parquet(tmp_path / "parts" / "new.parquet")
    for asked in ({}, {"drop_invalid": True}):
        said = refusal(tmp_path / "parts", **asked)
        assert "numbers and dates cannot be compared. This affects 9 of 18 rows." in said
        assert "--drop-invalid" not in said


def test_prepare_reads_dates_as_text_and_as_timestamps_together(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    texts = [(user, item, str(time)[:19]) for user, item, time in dates(ROWS[:9])]
    frame(texts).write_parquet(tmp_path / "parts" / "a.parquet")
    frame(dates(ROWS[9:])).write_parquet(tmp_path / "parts" / "b.parquet")
    assert sequences(prepared(tmp_path / "parts")) == EVERYONE


@pytest.mark.parametrize("stored", [False, True])
def test_prepare_keeps_nanoseconds(tmp_path: Path, stored: bool) -> None:
    rows = [(user, item, START * 10**9 + place) for place, (user, item, _) in enumerate(ROWS)]
    table = frame(rows[::-1]).with_columns(pl.col("timestamp").cast(pl.Datetime("ns")))
    path = tmp_path / ("ns.parquet" if stored else "ns.csv")
    if stored:
        table.write_parquet(path)
    else:
        table.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.9fZ")
    data = prepared(path)
    assert sequences(data) == EVERYONE
    assert source_of(data)["times"] == [START * 10**9, START * 10**9 + 17]


def moments(form: Callable[[datetime], str]) -> list[tuple[str, str, str]]:
    return [(user, item, form(time)) for user, item, time in dates(ROWS)]


@pytest.mark.parametrize(
    "form",
    [
        lambda time: f"{time:%Y-%m-%d %H:%M:%S} UTC",
        lambda time: f"{time:%Y-%m-%dT%H:%M:%S}Z",
        lambda time: f"{time + timedelta(hours=2):%Y-%m-%d %H:%M:%S}+02",
        lambda time: f"{time + timedelta(hours=2):%Y-%m-%d %H:%M:%S} +0200",
        lambda time: f"{time - timedelta(hours=2):%Y-%m-%d %H:%M}-02:00",
    ],
)
def test_prepare_reads_time_zones_in_every_form(
    tmp_path: Path, form: Callable[[datetime], str]
) -> None:
    data = prepared(write(tmp_path / "x.csv", HEADER, moments(form)))
    assert sequences(data) == EVERYONE
    first, last = (time // 60 * 60 * 10**6 for time in (ROWS[0][2], ROWS[-1][2]))
    assert [time // (60 * 10**6) * 60 * 10**6 for time in source_of(data)["times"]] == [first, last]


def test_prepare_keeps_dates_of_the_seventies_as_dates(tmp_path: Path) -> None:
    rows = [
        (f"u{day % 3}", f"i{day % 5}", str(datetime(1970, 1, 1) + timedelta(day)))
        for day in range(90)
    ]
    path = write(tmp_path / "x.csv", HEADER, rows)
    cut = prepare(path, "x", tmp_path, "time-split", core=1, cut=("1970-02-10", "1970-03-01"))
    source = source_of(open_dataset(cut))
    assert source["cut"] == [40 * 86_400 * 10**6, 59 * 86_400 * 10**6]
    shown = reprise("data", "show", "x", "--data-dir", tmp_path, "--lang", "en")
    assert "Times: 1970-01-01 to 1970-03-31" in shown.stdout


def test_prepare_warns_of_seconds_mixed_with_milliseconds(tmp_path: Path) -> None:
    rows = [(user, item, time * 1000 if item < "i3" else time) for user, item, time in ROWS]
    data = prepared(write(tmp_path / "x.csv", HEADER, rows))
    assert source_of(data)["warnings"] == [{"warning": "mixed_times", "counts": "9 s, 9 ms"}]
    assert source_of(data)["time_unit"] is None
    rows = [(user, item, 0 if item < "i3" else time) for user, item, time in ROWS]
    assert source_of(prepared(write(tmp_path / "y.csv", HEADER, rows)))["warnings"] == []


def test_prepare_refuses_parts_with_different_time_columns(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.csv", HEADER, ROWS[:9])
    write(tmp_path / "p" / "b.csv", ("user_id", "item_id", "date"), ROWS[9:])
    assert "a.csv but date in " in refusal(tmp_path / "p")


# Ids


@pytest.mark.parametrize("null", ["\\N", "NULL", "NA", "nan", "None", "", '"NA"', '"  "'])
def test_prepare_refuses_or_drops_rows_with_a_null_value_as_user(tmp_path: Path, null: str) -> None:
    rows: list[tuple[object, ...]] = [*ROWS, *((null, "i0", START + n) for n in range(4))]
    path = write(tmp_path / "x.csv", HEADER, rows)
    said = refusal(path)
    assert f"row {len(ROWS) + 2}: the user is " in said
    assert "4 of 22 rows have no id or no time; --drop-invalid" in said
    data = prepared(path, drop_invalid=True)
    assert sequences(data) == EVERYONE
    assert source_of(data)["taken"]["left_out"] == {"user": 4}
    assert source_of(data)["taken"]["rows"] == 22


@pytest.mark.parametrize("null", ["\\N", "", "NaT 1", "-5"])
@pytest.mark.parametrize("form", ["{}", "{}.5", "dates"])
def test_prepare_refuses_or_drops_rows_without_a_time(tmp_path: Path, null: str, form: str) -> None:
    rows: list[tuple[object, ...]] = [(u, i, form.format(time)) for u, i, time in ROWS]
    if form == "dates":
        rows = list(dates(ROWS))
    rows[3:3] = [("u0", "i0", null)] * 4
    path = write(tmp_path / "x.csv", HEADER, rows)
    said = refusal(path)
    assert f"row 5: the time is {null!r}" in said
    assert "4 of 22 rows have no id or no time; --drop-invalid" in said
    data = prepared(path, drop_invalid=True)
    assert sequences(data) == EVERYONE
    assert source_of(data)["taken"]["left_out"] == {"time": 4}


def test_prepare_takes_null_values_as_given(tmp_path: Path) -> None:
    rows = [("NA" if user == "u0" else user, item, time) for user, item, time in ROWS]
    path = write(tmp_path / "x.csv", HEADER, rows)
    assert "--null-values none" in refusal(path)
    assert sequences(prepared(path, null_values="none"))["NA"] == ITEMS
    path = write(tmp_path / "y.csv", HEADER, [*ROWS, ("-1", "i0", START), ("7", "i0", START)])
    assert "the user is '-1'" in refusal(path, null_values="-1, 0")
    kept = prepared(path, null_values="7,-1", drop_invalid=True)
    assert sequences(kept) == EVERYONE


def test_data_show_warns_of_a_user_with_most_rows(tmp_path: Path) -> None:
    write(
        tmp_path / "x.csv", HEADER, [*ROWS, *(("bot", f"i{n % 6}", START + n) for n in range(30))]
    )
    made = made_of(tmp_path / "x.csv")
    assert made.returncode == 0
    shown = reprise("data", "show", "x", "--data-dir", tmp_path, "--lang", "en")
    assert "One user has 62.5% of all interactions" in shown.stdout


def test_prepare_refuses_metadata_of_no_item_and_warns_of_few(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", HEADER, ROWS)
    about = write(tmp_path / "x_meta.csv", ("item_id", "title"), [("9", "a"), ("8", "b")])
    assert (
        f"{about}: matches none of the items: the interactions have i0, i1, this file has 9, 8"
        in refusal(path)
    )
    write(about, ("item_id", "title"), [("i1", "a"), ("i2", "b")])
    warned = {"warning": "few_told", "told": 2, "items": 6}
    assert source_of(prepared(path))["warnings"] == [warned]


# Folders


def test_prepare_refuses_a_file_beside_its_compressed_copy(tmp_path: Path) -> None:
    path = write(tmp_path / "clicks" / "sep.csv", HEADER, ROWS)
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    said = refusal(tmp_path / "clicks")
    assert "sep.csv and sep.csv.gz are a file and its compressed copy" in said
    path.unlink()
    assert sequences(prepared(tmp_path / "clicks")) == EVERYONE


def test_prepare_skips_names_with_a_leading_underscore(tmp_path: Path) -> None:
    write(tmp_path / "t" / "dt=2020-09-13" / "part-0.csv", HEADER, ROWS)
    write(tmp_path / "t" / "_temporary" / "0" / "dt=2020-09-13" / "part-0.csv", HEADER, ROWS)
    write(tmp_path / "t" / "dt=2020-09-13" / "_part-1.csv", HEADER, ROWS)
    assert sequences(prepared(tmp_path / "t")) == EVERYONE


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_prepare_skips_empty_parts(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "t").mkdir()
    table = frame(ROWS)
    for name, part in (("a", table.head(0)), ("b", table), ("c", table.head(0))):
        path = tmp_path / "t" / f"{name}{suffix}"
        if suffix == ".csv":
            part.write_csv(path)
        elif suffix == ".parquet":
            part.write_parquet(path)
        else:
            part.write_ndjson(path)
    (tmp_path / "t" / f"_d{suffix}").touch()
    assert sequences(prepared(tmp_path / "t")) == EVERYONE


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_prepare_takes_partition_names_as_columns(tmp_path: Path, suffix: str) -> None:
    for day, item in enumerate(ITEMS):
        rows = [(user, item) for user in ("u0", "u1", "u2")]
        path = write(tmp_path / "t" / f"dt=2020-09-{13 + day}" / "a.csv", HEADER[:2], rows)
        if suffix == ".parquet":
            pl.read_csv(path).write_parquet(path.with_suffix(suffix))
            path.unlink()
    assert (
        "no time column found; the columns are user_id, item_id, dt. Name it: --time-col dt."
        in (refusal(tmp_path / "t"))
    )
    assert sequences(prepared(tmp_path / "t", time_col="dt")) == EVERYONE


def test_prepare_finds_a_category_in_partition_names(tmp_path: Path) -> None:
    for item in ITEMS:
        rows = [row for row in ROWS if row[1] == item]
        write(tmp_path / "t" / f"category=c%20{item}" / "a.csv", HEADER, rows)
    data = prepared(tmp_path / "t")
    about = pl.read_parquet(data.folder / "items.parquet")
    assert about["category"].to_list() == [f"c {item}" for item in about["raw_id"]]
    assert source_of(data)["taken"]["columns"]["category"] == {
        "column": "category",
        "by": "partition",
    }


@pytest.mark.parametrize("sign", ["_delta_log/0.json", "metadata/v1.metadata.json", ".hoodie/x"])
def test_prepare_refuses_tables_whose_log_lists_their_files(tmp_path: Path, sign: str) -> None:
    write(tmp_path / "t" / "a.csv", HEADER, ROWS)
    write(tmp_path / "t" / sign, (), [])
    assert "whose log decides which of its files count" in refusal(tmp_path / "t")


def test_prepare_names_the_line_that_writes_such_a_table(tmp_path: Path) -> None:
    write(tmp_path / "d" / "_delta_log" / "0.json", (), [])
    for version in ("v2", "v10", "v9"):
        write(tmp_path / "i" / "metadata" / f"{version}.metadata.json", (), [])
    for name, reader, source in (
        ("d", "scan_delta", tmp_path / "d"),
        ("i", "scan_iceberg", tmp_path / "i" / "metadata" / "v10.metadata.json"),
    ):
        command = shlex.split(refusal(tmp_path / name).partition(" && ")[2])
        assert command[:2] == ["python", "-c"]
        target = tmp_path / f"{name}.snapshot.parquet"
        code = f'import polars; polars.{reader}("{source}").sink_parquet("{target}")'
        assert command[2] == code
        assert hasattr(pl, reader)


# JSON lines


@pytest.mark.parametrize("name", ["category", "Cate-ID"])
def test_prepare_reads_a_field_that_first_appears_late(tmp_path: Path, name: str) -> None:
    rows = [dict(zip(HEADER, row, strict=True)) for row in ROWS * 8]
    for row in rows[120:]:
        row[name] = f"c{row['item_id']}"
        row["nested"] = {"title": "no"}
    path = tmp_path / "late.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for asked in ({}, {"category_col": name}):
        about = pl.read_parquet(prepared(path, **asked).folder / "items.parquet")
        assert about["category"].to_list() == [f"c{item}" for item in about["raw_id"]]
    assert "no such column" in refusal(path, title_col="absent")


# What is said


def test_prepare_prints_and_stores_what_it_read_and_data_show_repeats_it(tmp_path: Path) -> None:
    rows = [(*row, "x") for row in ROWS]
    path = write(tmp_path / "x.tsv", ("user_id", "item_id", "ts", "colour"), rows, "\t")
    made = made_of(path, "--time-col", "ts")
    said = [
        "Read: x.tsv",
        r"Text: separator '\t', quotes none, encoding utf-8 (",
        "Columns: user = user_id, item = item_id, time = ts (as named)",
        "Columns not used: colour",
        "Kept by the filter: 3 of 3 users, 6 of 6 items, 18 of 18 interactions",
        "Times: 2020-09-13 to 2020-09-13",
    ]
    shown = reprise("data", "show", "x", "--data-dir", tmp_path, "--lang", "en")
    for line in said:
        assert line in made.stdout
        assert line in shown.stdout


def test_prepare_names_all_missing_columns_together(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", ("the customer", "sku", "created_at"), ROWS)
    said = refusal(path)
    options = "--user-col 'the customer' --item-col sku --time-col created_at"
    columns = "the customer, sku, created_at"
    assert f"no user, item, time column found; the columns are {columns}. Name it: " in said
    assert f"Name it: {options}" in said
    words = dict(zip(("user_col", "item_col", "time_col"), shlex.split(options)[1::2], strict=True))
    assert sequences(prepared(path, **words)) == EVERYONE
    wrong = refusal(path, user_col="customer", item_col="skus", time_col="created_at")
    assert wrong == (
        f"--user-col customer --item-col skus: {path} has no such column; its columns are "
        f"{columns}. Did you mean 'the customer', 'sku'?"
    )


@pytest.mark.parametrize("value", ["::", "é", "\n", '"'])
def test_prepare_refuses_a_separator_of_several_characters(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "x.csv", HEADER, ROWS)
    assert "one ASCII character" in refusal(path, separator=value)
    for key, bad in (("quote", "x"), ("encoding", "klingon")):
        assert Messages("en").text(f"good_{key}") in refusal(path, **{key: bad})


@pytest.mark.parametrize(
    ("name", "sign"), [("\\x01", "\x01"), ("tab", "\t"), ("bar", "|"), (":", ":")]
)
def test_prepare_accepts_a_separator_by_name(tmp_path: Path, name: str, sign: str) -> None:
    path = write(tmp_path / "x.csv", HEADER, ROWS, sign)
    assert sequences(prepared(path, separator=name)) == EVERYONE


def test_prepare_replaces_a_dataset_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", HEADER, ROWS[:15])
    assert made_of(path).returncode == 0
    write(path, HEADER, ROWS)
    check_refusal(made_of(path), 3, "--overwrite")
    write(tmp_path / "bad.csv", HEADER, [("u",)])
    check_refusal(made_of(tmp_path / "bad.csv", "--overwrite"), 3, "line 2")
    assert sequences(open_dataset(tmp_path / "x")) == dict.fromkeys(EVERYONE, ITEMS[:5])
    assert made_of(path, "--overwrite").returncode == 0
    assert sequences(open_dataset(tmp_path / "x")) == EVERYONE
    (tmp_path / "x" / "meta.json").unlink()  # no data set: perhaps something of the user's
    check_refusal(made_of(path, "--overwrite"), 3, "already exists")


@pytest.mark.parametrize("name", ["ratings.dat", "x.jsonl", "x.parquet", "x.txt"])
def test_prepare_refuses_a_separator_for_formats_without_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.parquet":
        frame(ROWS).write_parquet(path)
    elif name == "x.jsonl":
        frame(ROWS).write_ndjson(path)
    else:
        lines = ["::".join((user, item, "5", str(time))) for user, item, time in ROWS]
        path.write_text("\n".join(lines) if name == "ratings.dat" else "u0 i0 i1 i2\n")
    assert "--separator does not apply to the format" in refusal(path, separator=",")


def test_prepare_refuses_drop_invalid_for_a_split_source(tmp_path: Path) -> None:
    source = write_comirec(tmp_path / "c")
    assert "--drop-invalid does not apply to the format comirec" in refusal(
        source, drop_invalid=True
    )
    assert "--null-values does not apply to the format comirec" in refusal(source, null_values="x")


def test_prepare_names_columns_of_metadata_that_look_useful(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", HEADER, ROWS)
    rows = [(f"i{n}", f"brand {n}", f"name {n}", 5, "x") for n in range(6)]
    write(tmp_path / "x_meta.csv", ("item_id", "brand", "product_name", "price", "y"), rows)
    assert source_of(prepared(path))["taken"]["useful"] == [
        {"column": "brand", "what": "category"},
        {"column": "product_name", "what": "title"},
        {"column": "price", "what": "price"},
    ]
    data = prepared(path, category_col="brand", title_col="product_name")
    assert source_of(data)["taken"]["useful"] == [{"column": "price", "what": "price"}]
