"""Several sources and patterns: read as parts of one source; files not read are reported."""

import errno
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import reprise
from helpers.builders_data import write_comirec
from helpers.commands import reprise as command
from helpers.sources import frame, random_events, text
from reprise import durable
from reprise.data.draft import Draft
from reprise.data.prepare import prepare, read_source
from reprise.data.readers.given import Source, given
from reprise.data.readers.recognise import asked_of, read
from reprise.errors import RepriseError

EVENTS = random_events(9)
HEADER = "user_id,item_id,timestamp"


def write(path: Path, rows: Sequence[Any], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text(rows, header, ","))
    return path


def taken(source: Source, **asked: Any) -> dict[str, Any]:
    """What is kept of how a source was read."""
    about: dict[str, Any] = dict(read_source(source, asked=asked_of(**asked)).source["taken"])
    return about


def rows(source: Source, **asked: Any) -> list[Any]:
    """The interactions that are read, sorted."""
    words = pl.col("user", "item").cast(pl.String)
    return sorted(read(source, "table", asked_of(**asked)).frame.select(words, "time").rows())


def refusal(source: Source, **asked: Any) -> str:
    with pytest.raises(RepriseError) as caught:
        read_source(source, asked=asked_of(**asked))
    assert caught.value.exit_code in (2, 3)
    return str(caught.value)


def same(one: Draft, other: Draft) -> bool:
    """Whether two drafts are of the same interactions, in the same order."""
    return all(
        one.raw_users[split].equals(other.raw_users[split])
        and one.splits[split].items.tolist() == other.splits[split].items.tolist()
        for split in one.splits
    ) and one.raw_items.equals(other.raw_items)


@pytest.fixture
def months(tmp_path: Path) -> list[Path]:
    """The events in three files."""
    names = ("log-jan", "log-feb", "log-mar")
    return [write(tmp_path / f"{name}.csv", EVENTS[n::3]) for n, name in enumerate(names)]


# What is given


def test_read_source_gives_the_same_for_files_a_pattern_and_their_folder(
    months: list[Path],
) -> None:
    folder = months[0].parent
    whole = read_source(folder)
    assert whole.source["read"]["interactions"] == len(EVENTS)
    for source in (months, months[::-1], folder / "log-*.csv", [str(folder / "log-[!x]*")]):
        assert same(read_source(source), whole)
    assert refusal([str(folder / "log-*"), months[0]]) == (
        f"{folder / 'log-jan.csv'} and {months[0]} are the same file. Give it once."
    )
    first, *others = months
    below = folder / "more"
    below.mkdir()
    moved = [path.rename(below / path.name) for path in others]
    assert same(read_source([first, below]), whole)
    assert read_source([first, *moved]).source["taken"]["files"] == [
        "log-jan.csv",
        "more/log-feb.csv",
        "more/log-mar.csv",
    ]


def test_read_source_orders_files_named_after_splits_in_any_folders(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / folder / f"{name}.csv", EVENTS[start:end])
        for folder, name, start, end in (
            ("c", "train", 0, 300),
            ("b", "valid", 300, 400),
            ("a", "test", 400, None),
        )
    ]
    draft = read_source(paths[::-1])
    assert same(draft, read_source(write(tmp_path / "whole.csv", EVENTS)))
    (warning,) = [one for one in draft.source["warnings"] if one["warning"] == "split_anew"]
    assert warning["files"] == "c/train.csv, b/valid.csv, a/test.csv"
    twice = write(tmp_path / "d" / "train.csv", EVENTS[:9])
    assert not read([*paths, twice], "table").ordered


def test_read_source_takes_a_pattern_across_partition_folders(tmp_path: Path) -> None:
    for day in (1, 2):
        rows_of_day = [event for event in EVENTS if event[2] % 2 == day - 1]
        write(tmp_path / "clicks" / f"dt=2026-11-0{day}" / "a.csv", rows_of_day)
    whole = read_source(tmp_path / "clicks", asked=asked_of(time_col="dt"))
    days = [tmp_path / "clicks" / f"dt=2026-11-0{day}" for day in (1, 2)]
    for source in (tmp_path / "clicks" / "dt=*" / "*.csv", tmp_path / "cl*" / "**" / "*.csv", days):
        assert same(read_source(source, asked=asked_of(time_col="dt")), whole)
    (one,) = {row[2] for row in rows(tmp_path / "clicks" / "dt=*1" / "*.csv", time_col="dt")}
    assert one == 1_793_491_200_000_000


def test_pattern_skips_hidden_files_and_files_of_no_format(months: list[Path]) -> None:
    folder = months[0].parent
    (folder / "_log-old.csv").write_text("x")
    write(folder / "_temporary" / "log-x.csv", EVENTS)
    (folder / "notes.md").write_text("x")
    (folder / "more").mkdir()
    assert rows(folder / "*.csv") == rows(months)
    told = taken(folder / "**" / "*.csv")
    assert told["aside"]["hidden"]["names"] == ["_log-old.csv", "_temporary/log-x.csv"]
    (folder / "more").rmdir()
    told = taken(folder / "[!_]*")
    assert told["num_files"] == 3
    assert told["aside"] == {"other": {"count": 1, "names": ["notes.md"]}}


def test_pattern_characters_in_an_existing_name_are_literal(tmp_path: Path) -> None:
    path = write(tmp_path / "log[1].csv", EVENTS)
    write(tmp_path / "log1.csv", EVENTS[:50])
    assert len(rows(path)) == len(EVENTS)
    assert len(rows(tmp_path / "log[0-9].csv")) == 50


@pytest.mark.parametrize("name", ["x-*.csv", "_*.csv", "log-[0-9].csv"])
def test_pattern_that_matches_nothing_is_refused(months: list[Path], name: str) -> None:
    write(months[0].with_name("_x.csv"), EVENTS)
    pattern = months[0].with_name(name)
    assert refusal([months[0], pattern]).startswith(f"No file matches {pattern}.")


def test_read_source_refuses_files_that_cannot_be_read_together(
    tmp_path: Path, months: list[Path]
) -> None:
    january = months[0]
    table = tmp_path / "x.parquet"
    frame(EVENTS).write_parquet(table)
    assert "must have the same file type" in refusal([january, table])
    inter = tmp_path / "x.inter"
    inter.write_text("user_id:token\titem_id:token\ttimestamp:float\na\tb\t1\n")
    assert refusal([january, inter]) == (
        f"{january} has the format table, {inter} the format recbole: they cannot be read "
        "together. Prepare them apart, or, if both are tables, add --format table."
    )
    ratings = write(tmp_path / "ratings.csv", EVENTS[:9])
    assert "the format movielens" in refusal([january, ratings])
    assert len(rows([january, ratings], format_name="table")) == 9 + len(EVENTS[0::3])
    assert "The format recbole is read from one file or folder" in refusal([inter, inter])
    split = write_comirec(tmp_path / "c")
    assert "The format comirec is read from one file or folder" in refusal([split, split])
    packed = tmp_path / "z" / january.name
    packed.parent.mkdir()
    packed.with_suffix(".csv.gz").write_bytes(gzip.compress(january.read_bytes()))
    assert rows(
        [january, packed.with_suffix(".csv.gz")]
    )  # of another folder: perhaps another month
    copy = january.with_suffix(".csv.gz")
    copy.write_bytes(gzip.compress(january.read_bytes()))
    assert f"{january} and {copy.name} are a file and its compressed copy" in refusal(
        [january, copy]
    )
    link = tmp_path / "link.csv"
    link.symlink_to(january)
    assert f"{january} and {link} are the same file" in refusal([january, link])
    assert f"No such file or folder: {tmp_path / 'gone.csv'}" == refusal(
        [january, tmp_path / "gone.csv"]
    )
    assert "Missing: --source" in refusal([])


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("uid,item_id,timestamp", "The user column is user_id in {first} but uid in {second}."),
        ("user_id,sku,timestamp", "{second}: no item column found"),
        ("user_id,item_id,date", "The time column is timestamp in {first} but date in {second}."),
    ],
)
def test_read_source_refuses_files_of_other_columns_by_name(
    months: list[Path], header: str, said: str
) -> None:
    other = write(months[0].with_name("other.csv"), EVENTS, header)
    said = said.format(first=months[0], second=other)
    assert said in refusal([months[0], other])
    assert said.replace(str(months[0]), str(months[1])) in refusal(other.parent)  # log-feb is first


def test_read_source_warns_of_a_column_that_some_files_lack(months: list[Path]) -> None:
    lines = [f"{user},{item},c{item},{int(time)}" for user, item, time in EVENTS[:300]]
    path = months[0].with_name("log-apr.csv")
    path.write_text("\n".join(["user_id,item_id,category,timestamp", *lines]))
    draft = read_source([path, *months])
    (warning,) = [one for one in draft.source["warnings"] if one["warning"] == "in_some"]
    assert (warning["what"], warning["without"], warning["files"]) == ("category", 3, 4)
    assert draft.about_items is not None
    assert draft.about_items["category"].drop_nulls().str.starts_with("c").all()


def test_read_source_reads_the_one_metadata_file_beside_several_files(
    tmp_path: Path, months: list[Path]
) -> None:
    items = sorted({item for _, item, _ in EVENTS})
    about = "item_id,category\n" + "".join(f"{item},of {item}\n" for item in items)
    (tmp_path / "meta.csv").write_text(about)
    for source in (months, tmp_path / "*.csv", [*months, tmp_path / "meta.csv"]):
        draft = read_source(source)
        assert draft.source["taken"]["items_told"] == draft.source["kept"]["items"]
        assert draft.source["read"]["interactions"] == len(EVENTS)
    other = write(tmp_path / "b" / "log-apr.csv", EVENTS[:9])
    (other.parent / "meta.csv").write_text(about)
    assert "both describe items. Put them together in one file named metadata" in refusal(
        [*months, other]
    )
    (other.parent / "meta.csv").unlink()
    (tmp_path / "meta.csv").rename(tmp_path / "metadata.csv")
    assert "items_told" in read_source([*months, other]).source["taken"]


def test_prepare_takes_several_sources_by_command_and_call(
    tmp_path: Path, months: list[Path]
) -> None:
    folder = ("--data-dir", tmp_path / "data", "--lang", "en")
    made = command("prepare", *months, "--name", "a", *folder)
    assert made.returncode == 0, made.stderr
    assert "Read: log-feb.csv, log-jan.csv, log-mar.csv" in made.stdout
    made = command("prepare", tmp_path / "log-*.csv", "--name", "b", *folder)
    assert made.returncode == 0, made.stderr
    data = reprise.prepare(months, name="c", data_dir=tmp_path / "data")
    assert data.meta["source"]["path"] == ", ".join(map(str, months))
    found = {reprise.open_dataset(name, tmp_path / "data").fingerprint for name in "abc"}
    assert found == {data.fingerprint}


# What is left aside


def test_prepare_counts_and_names_the_files_it_did_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    for number in range(3):
        write(folder / f"part-{number}.csv", EVENTS[number::3])
    (folder / "part-3.csv").touch()
    for name in ("_SUCCESS", ".part-0.csv.crc", ".part-1.csv.crc", "._part-0.csv"):
        (folder / name).write_bytes(b"x")
    (folder / "README.txt").write_text("What this is.")
    (folder / "notes.xlsx").write_bytes(b"PK")
    write(folder / "older" / "part-0.csv", EVENTS)
    for name in ("meta_a", "meta_b"):
        (folder / f"{name}.csv").write_text("item_id,title\nx,y\n")
    prepare(folder, "x", tmp_path / "data")
    meta = json.loads((tmp_path / "data" / "x" / "meta.json").read_text())
    assert meta["source"]["taken"]["aside"] == {
        "hidden": {"count": 4, "names": ["._part-0.csv", ".part-0.csv.crc", ".part-1.csv.crc"]},
        "other": {"count": 1, "names": ["README.txt"]},
        "metadata": {"count": 2, "names": ["meta_a.csv", "meta_b.csv"]},
        "foreign": {"count": 1, "names": ["notes.xlsx"]},
        "folder": {"count": 1, "names": ["older"]},
        "empty": {"count": 1, "names": ["part-3.csv"]},
    }
    shown = command("data", "show", "x", "--data-dir", tmp_path / "data", "--lang", "en").stdout
    hidden = "4 hidden (._part-0.csv, .part-0.csv.crc, .part-1.csv.crc, ...)"
    assert f"Files not read: {hidden}; " in shown
    assert "; 1 empty (part-3.csv)" in shown


def test_read_source_leaves_nothing_aside_if_every_file_is_read(
    tmp_path: Path, months: list[Path]
) -> None:
    write(tmp_path / "y" / "a" / "1.csv", EVENTS)
    write(tmp_path / "y" / "b" / "1.csv", EVENTS)
    for source in (months[0], months, tmp_path / "y"):
        assert taken(source)["aside"] == {}


def test_read_source_names_unread_files_beside_other_formats(tmp_path: Path) -> None:
    folder = tmp_path / "ml"
    write(folder / "ratings.csv", EVENTS, "userId,movieId,timestamp")
    (folder / "movies.csv").write_text(
        "movieId,title,genres\n" + "".join(f"{item},t,g\n" for _, item, _ in EVENTS[:50])
    )
    write(folder / "tags.csv", EVENTS)
    assert taken(folder)["aside"] == {"other": {"count": 1, "names": ["tags.csv"]}}


# Columns that look useful


def test_prepare_names_useful_columns_with_the_option_that_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    wide = ("brand", "product name", "score", "price", "colour")
    lines = [
        ",".join((user, item, str(int(time)), f"b{item}", f"n{item}", "5", "9", "red"))
        for user, item, time in EVENTS
    ]
    path.write_text("\n".join([",".join(("user", "item", "time", *wide)), *lines]))
    options = ("--name", "x", "--data-dir", tmp_path, "--lang", "en")
    said = command("prepare", path, *options).stdout
    assert "Columns not used: brand, product name, score, price, colour\n" in said
    assert (
        "Possibly useful, but not used: brand (--category-col brand), "
        "product name (--title-col 'product name'), "
        "score (--rating-col score --min-rating X), price\n"
    ) in said
    asked = ("--category-col", "brand", "--title-col", "product name", "--overwrite")
    said = command("prepare", path, *options, *asked).stdout
    assert "Possibly useful, but not used: score (--rating-col score --min-rating X), price" in said


@pytest.mark.parametrize(
    "name", ["colour", "session_id", "platform", "stars_in", "catalogue", "event_type", "types"]
)
def test_read_source_does_not_suggest_other_columns(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER},{name}\n" + "".join(f"{u},{i},{t},x\n" for u, i, t in EVENTS))
    assert taken(path)["useful"] == []


# RecBole's benchmark files


def write_benchmark(folder: Path, column: Callable[[int], str] = lambda n: "") -> Path:
    folder.mkdir()
    header = "user_id:token\titem_id:token\ttimestamp:float" + column(-1)
    for name, start, end in (("train", 0, 300), ("valid", 300, 400), ("test", 400, None)):
        lines = [
            "\t".join((user, item, str(int(time)))) + column(n)
            for n, (user, item, time) in enumerate(EVENTS[start:end])
        ]
        (folder / f"ml.{name}.inter").write_text("\n".join([header, *lines]))
    return folder


def test_read_source_warns_of_a_benchmark_split_that_is_not_kept(tmp_path: Path) -> None:
    draft = read_source(write_benchmark(tmp_path / "ml"))
    assert draft.source["read"]["interactions"] == len(EVENTS)
    (warning,) = [one for one in draft.source["warnings"] if one["warning"] == "split_anew"]
    assert warning["files"] == "ml.train.inter, ml.valid.inter, ml.test.inter"


def test_prepare_reproduces_a_benchmark_of_last_items(tmp_path: Path) -> None:
    """As the warning says: by leave-one-out, with all that there is."""
    folder = tmp_path / "ml"
    folder.mkdir()
    own = {f"u{n}": [f"i{(n * k + k) % 11}" for k in range(3 + n % 4)] for n in range(30)}
    for name, chosen in (("train", slice(-2)), ("valid", slice(-2, -1)), ("test", slice(-1, None))):
        lines = [
            f"{user}\t{item}\t{time}"
            for user, items in own.items()
            for time, item in list(enumerate(items))[chosen]
        ]
        header = "user_id:token\titem_id:token\ttimestamp:float"
        (folder / f"ml.{name}.inter").write_text("\n".join([header, *lines]))
    draft = read_source(folder, "leave-one-out", 1)
    for split, last in (("valid", -2), ("test", -1)):
        met = draft.splits[split]
        for number, user in enumerate(draft.raw_users[split]):
            items = met.items[met.offsets[number] : met.offsets[number + 1]]
            assert draft.raw_items[int(items[-1]) - 1] == own[user][last]
    assert set(draft.raw_users["test"]) == set(own)


def test_read_source_refuses_benchmark_files_with_histories(tmp_path: Path) -> None:
    folder = write_benchmark(
        tmp_path / "ml", lambda n: "\titem_id_list:token_seq" if n < 0 else "\t1 2 3"
    )
    assert "ml.train.inter: column item_id_list:token_seq holds a history" in refusal(folder)


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*/x.csv",
        "a/*.csv",
        "**",
        "**/*.csv",
        "**/b/*",
        "[ab]/**/x.csv",
        "?/b/**",
        "a/../*.csv",
    ],
)
def test_given_matches_what_pathlib_does(tmp_path: Path, pattern: str) -> None:
    for name in (
        "x.csv",
        "a/x.csv",
        "a/b/x.csv",
        "a/b/c/y.csv",
        "b/b/x.csv",
        ".h/x.csv",
        "a/_t/x.csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b", target_is_directory=True)
    whole = given(tmp_path / pattern)
    found = set(tmp_path.glob(pattern))
    assert {*whole.paths, *whole.passed} == found
    assert list(whole.paths) == sorted(whole.paths)


@pytest.mark.parametrize("pattern", ["parts/*/x.csv", "parts/**/x.csv", "parts/*/*", "p*/b/*.csv"])
def test_given_refuses_a_folder_that_cannot_be_listed(
    tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else the pattern matches is not all of the source."""
    for part in "ab":
        write(tmp_path / "parts" / part / "x.csv", EVENTS)
    refuse_to_list(monkeypatch, "b")
    said = refusal(tmp_path / pattern)
    assert said.startswith(f"Cannot list {tmp_path / 'parts' / 'b'}: Permission denied")


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    listed = durable.entries

    def entries(folder: Path) -> list[Path]:
        if folder.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(durable, "entries", entries)
