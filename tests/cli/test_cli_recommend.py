"""`reprise recommend` and `reprise similar`: one history, a user, a file of histories."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.commands import check_refusal, reprise
from reprise.runs.folder import RunFolder
from reprise.runs.stored import load
from reprise.serving.recommender import Recommender
from reprise.text.messages import unsaid

HISTORIES = [["i3", "i7", "i3"], [], ["i9", "nowhere"], ["i40", "i1"] * 9]


@pytest.fixture(scope="module")
def model(undisturbed: RunFolder) -> Recommender:
    return Recommender(load(undisturbed.path, "best", unsaid))


@pytest.fixture(scope="module")
def expected(model: Recommender) -> list[list[str]]:
    with pytest.warns():
        frame = model.recommend(HISTORIES, n=6)
    return [frame.filter(history=row)["item_id"].to_list() for row in range(len(HISTORIES))]


def run(of: RunFolder, *options: object) -> Any:
    return reprise("recommend", of.path, *options, "-n", 6)


def write(path: Path) -> Path:
    """Write HISTORIES of users a, b, ... in the format of the path's suffix."""
    users = ["a", "b", "c", "d"]
    frame = pl.DataFrame({"user_id": users, "history": HISTORIES})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.with_columns(pl.col("history").list.join(" ")).write_csv(path)
    else:
        rows = zip(users, HISTORIES, strict=True)
        lines = [json.dumps({"user_id": user, "history": own}) for user, own in rows]
        path.write_text("\n".join(lines) + "\n")
    return path


def lists_in(path: Path) -> list[list[str]]:
    """Return what has been written for HISTORIES."""
    if path.suffix == ".jsonl":
        answers = [json.loads(line) for line in path.read_text().splitlines()]
        assert [one["user"] for one in answers] == ["a", "b", "c", "d"]
        assert [one["popular"] for one in answers] == [False, True, False, False]
        return [[item["item_id"] for item in one["items"]] for one in answers]
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    parts = frame.partition_by("user", maintain_order=True)
    assert [part["user"][0] for part in parts] == ["a", "b", "c", "d"]
    assert all(part["rank"].to_list() == list(range(1, 7)) for part in parts)
    return [part["item_id"].to_list() for part in parts]


@pytest.mark.parametrize("source", ["h.parquet", "h.csv", "h.jsonl"])
@pytest.mark.parametrize("output", ["o.parquet", "o.csv", "o.jsonl"])
def test_recommend_reads_and_writes_files(
    source: str, output: str, undisturbed: RunFolder, expected: list[list[str]], tmp_path: Path
) -> None:
    histories, lists = write(tmp_path / source), tmp_path / output
    done = run(undisturbed, "--histories", histories, "--output", lists, "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert f"Recommended 6 items to 4 users -> {lists}" in done.stdout
    assert "1 of 23 items are unknown to the model" in done.stderr
    assert "1 of 4 histories have no known item; they get the most popular" in done.stderr
    assert lists_in(lists) == expected
    check_refusal(
        run(undisturbed, "--histories", histories, "--output", lists), 2, "already exists"
    )
    again = ("--histories", histories, "--output", lists, "--overwrite", "--explain")
    assert run(undisturbed, *again).returncode == 0
    assert lists_in(lists) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source, output])


def test_recommend_prints_json_and_a_table(
    undisturbed: RunFolder, expected: list[list[str]], small_data: Path
) -> None:
    done = run(undisturbed, "--history", "i3 i7 i3", "--json", "--explain")
    (answer,) = json.loads(done.stdout)["lists"]
    assert (answer["unknown_items"], answer["popular"]) == (0, False)
    assert [item["item_id"] for item in answer["items"]] == expected[0]
    keys = ["item_id", "title", "categories", "score", "interest", "scores", "because"]
    assert list(answer["items"][0]) == keys
    table = run(undisturbed, "--history", '["i3", "i7", "i3"]', "--lang", "en")
    assert "for a history of 3 known items" in table.stdout
    lines = table.stdout.splitlines()
    assert [line.split()[1] for line in lines[2:]] == expected[0]
    user = run(undisturbed, "--user", "u0", "--data-dir", small_data, "--lang", "en")
    assert user.returncode == 0 or "has no user" in user.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Give one of --history"),
        (["--history", "a", "--user", "b"], "Give one of --history"),
        (["--histories", "h.csv"], "Give one of --history"),
        (["--history", "a", "--output", "o.csv"], "Give one of --history"),
        (["--histories", "h.csv", "--output", "o.xlsx"], "expected .parquet | .csv | .jsonl"),
        (["--histories", "h.csv", "--output", "o.csv", "--json"], "--json, --output"),
        (["--history", "a", "--categories", "x, y"], "There is no category 'x'"),
        (["--history", "a", "--diversity", "-1"], "diversity"),
        (["--history", "a", "--weights", "1,x"], "2 numbers >= 0"),
        (["--history", "a", "--weights", "0 0"], "not all 0"),
    ],
)
def test_recommend_refuses(options: list[str], said: str, undisturbed: RunFolder) -> None:
    check_refusal(run(undisturbed, *options, "--lang", "en"), 2, said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"person": ["a"], "what": [["i1"]]}, "has no column of histories; its columns are"),
        ({"items": [[1, 2]]}, "may be item numbers or raw ids"),
        ({"history": [5]}, "not lists of item ids"),
    ],
)
def test_recommend_refuses_files_without_histories(
    content: dict[str, Any], said: str, undisturbed: RunFolder, tmp_path: Path
) -> None:
    path = tmp_path / "h.parquet"
    pl.DataFrame(content).write_parquet(path)
    done = run(undisturbed, "--histories", path, "--output", tmp_path / "o.csv", "--lang", "en")
    check_refusal(done, 3, said)
    assert not (tmp_path / "o.csv").exists()


def test_similar_lists_the_closest_items(undisturbed: RunFolder, model: Recommender) -> None:
    done = reprise("similar", undisturbed.path, "i5", "-n", 4, "--json")
    facts = json.loads(done.stdout)
    frame = model.similar_items("i5", n=4)
    assert facts["item"]["item_id"] == "i5"
    assert [item["item_id"] for item in facts["items"]] == frame["item_id"].to_list()
    assert [item["score"] for item in facts["items"]] == frame["score"].to_list()
    table = reprise("similar", undisturbed.path, "i5", "-n", 4, "--lang", "en").stdout
    assert [line.split()[1] for line in table.splitlines()[2:]] == frame["item_id"].to_list()
    done = reprise("similar", undisturbed.path, "i5x", "--lang", "en")
    check_refusal(done, 2, "no item 'i5x'. Similar ids: 'i5'")
