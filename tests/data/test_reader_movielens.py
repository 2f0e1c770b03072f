"""MovieLens in both forms."""

from pathlib import Path

from helpers.sources import MARK, check, random_events, refusal
from reprise.data.prepare import read_source
from reprise.data.readers.recognise import recognise


def test_movielens_reads_both_forms(tmp_path: Path) -> None:
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


def test_movielens_skips_a_byte_order_mark(tmp_path: Path) -> None:
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


def test_movielens_names_a_rating_with_other_fields(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::2::5::3\n1::2::5\n")
    assert "ratings.dat, line 2: expected user::item::...::time" in refusal(tmp_path)


def test_movielens_names_a_rating_that_is_cut_off(tmp_path: Path) -> None:
    lines = [f"{user}::{item}::5::9" for user, item, _ in random_events(12)]
    path = tmp_path / "ratings.dat"
    path.write_text("\n".join(lines)[:-3])
    said = refusal(path)
    assert str(path) in said
    assert f" {len(lines)}: " in said
