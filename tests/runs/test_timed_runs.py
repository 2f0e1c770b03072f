"""Runs whose model reads times: bound to them, better by them, and served with them."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from helpers.builders_data import draft_of
from helpers.checkpoints import no_warning
from helpers.commands import check_refusal, reprise, run_small, small_config, train
from helpers.servers import loader_of, service_of, serving
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.prepare import publish
from reprise.data.sequences import Sequences
from reprise.errors import ConfigMismatchError, DataError, UsageError
from reprise.runs.evaluation import asked_at, evaluation_facts, measure
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, from_checkpoint, load
from reprise.serving.export import write
from reprise.serving.histories import Users, users_of_file, users_of_split
from reprise.serving.recommender import Recommender, UntimedWarning
from reprise.serving.server.model import ServedModel
from reprise.training.setup import make_task

TIMED: dict[str, Any] = {"encoder_layers": 1, "time_bias": "gaps+request", "request_clock": "hour"}
FLAGS = ("--encoder-layers", 1, "--time-bias", "gaps+request", "--steps", 5)
HOUR = 3600


@pytest.fixture(scope="module")
def timed(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    _, _, folder = run_small(small_data, tmp_path_factory.mktemp("timed"), max_steps=8, **TIMED)
    return folder


@pytest.fixture
def stored(timed: RunFolder, small_data: Path) -> StoredModel:
    return load(timed.path, "best", no_warning, lambda name: small_data / name)


@pytest.fixture
def plain(small_data: Path, tmp_path: Path) -> StoredModel:
    _, _, folder = run_small(small_data, tmp_path / "plain", max_steps=2)
    return load(folder.path, "best", no_warning, lambda name: small_data / name)


def without_times(split: Sequences) -> Sequences:
    return dataclasses.replace(split, times=None)


def later(split: Sequences) -> Sequences:
    assert split.times is not None
    return dataclasses.replace(split, times=split.times + 1)


def data_with(data: Path, folder: Path, change: Any) -> Path:
    """Return a data folder whose "small" has other times."""
    known = open_dataset(data / "small")
    splits = {split: change(known.splits[split]) for split in SPLITS}
    publish(draft_of(splits, np.asarray(known.item_category)), "small", folder / "small")
    return folder


def test_timed_run_is_bound_to_the_times_it_reads(
    timed: RunFolder, stored: StoredModel, small_data: Path, tmp_path: Path
) -> None:
    moved = data_with(small_data, tmp_path / "moved", later)
    assert open_dataset(moved / "small").fingerprint == stored.dataset.fingerprint
    runs = Path(shutil.copytree(timed.path.parent, tmp_path / "runs"))
    with pytest.raises(ConfigMismatchError, match="times of the dataset have changed"):
        run_small(moved, runs, max_steps=8, **TIMED)
    other = dataclasses.replace(stored, locate=lambda name: moved / name)
    with pytest.raises(ConfigMismatchError, match="times of the dataset have changed"):
        _ = other.dataset


def test_run_that_reads_no_times_does_not_depend_on_them(small_data: Path, tmp_path: Path) -> None:
    moved = data_with(small_data, tmp_path / "moved", later)
    bare = data_with(small_data, tmp_path / "bare", without_times)
    _, _, first = run_small(small_data, tmp_path / "runs", max_steps=4)
    identity = load(first.path, "best", no_warning).checkpoint.identity
    assert "times" not in identity
    for data in (moved, bare):
        outcome, _, _ = run_small(data, tmp_path / "runs", max_steps=4)
        assert outcome.exit_code == 0


def test_data_without_times_is_refused(small_data: Path, tmp_path: Path) -> None:
    bare = data_with(small_data, tmp_path / "bare", without_times)
    with pytest.raises(DataError, match="has no times"):
        make_task(small_config(**TIMED), open_dataset(bare / "small"))
    check_refusal(train(bare, tmp_path / "runs", *FLAGS), 3, "has no times, which a model with")


def test_config_of_times_settles_what_has_no_effect() -> None:
    assert small_config(time_bias="gaps+request").time_bias == "none"  # without an encoder
    gaps = small_config(encoder_layers=1, time_bias="gaps", request_time="last")
    assert (gaps.request_time, gaps.request_at) == ("first-held-out", None)
    with pytest.raises(UsageError, match="hour is about the request"):
        small_config(encoder_layers=1, time_bias="gaps", request_clock="hour")
    assert small_config(**TIMED).request_at == "first-held-out"


def test_evaluation_asks_at_the_first_held_out_item_or_at_the_last_known(
    stored: StoredModel,
) -> None:
    first, last = (
        evaluation_facts(measure(asked_at(stored, one), "test"), "test", None)
        for one in (None, "last")
    )
    assert first["request_time"] == "first-held-out"
    assert last["request_time"] == "last"
    users = stored.dataset.evaluation_users("test", 6)
    assert users.times is not None
    for user, (held_out, known) in enumerate(
        zip(users.held_out_time, users.last_known_time, strict=True)  # type: ignore[arg-type]
    ):
        assert held_out >= known == users.times[user, users.lengths[user] - 1]
    with pytest.raises(UsageError, match="first-held-out"):
        asked_at(stored, "now")


def test_evaluate_shows_the_request_time_and_keeps_both_results(
    timed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(timed.path, tmp_path / timed.path.name))
    for flag, shown in (("first-held-out", "first held-out item"), ("last", "last known item")):
        done = reprise("evaluate", run, "--data-dir", small_data, "--request-time", flag)
        assert f"Request time: that of the {shown}" in done.stdout, done.stderr
    kept = json.loads((run / "results.json").read_text())["results"]
    asked = [one["request_time"] for one in kept if one["split"] == "test"]
    assert sorted(asked) == ["first-held-out", "last"]


def test_request_time_of_a_model_that_does_not_read_it_is_refused(
    undisturbed: RunFolder, small_data: Path
) -> None:
    data = ("--data-dir", small_data)
    done = reprise("evaluate", undisturbed.path, *data, "--request-time", "last")
    check_refusal(done, 2, "does not depend on the time of the request")


def test_recommender_with_times_lists_what_is_evaluated(stored: StoredModel) -> None:
    """For each test user; and without times what a model without a bias would list."""
    measured = measure(stored, "test")
    users = stored.dataset.evaluation_users("test", 6)
    whole = users.past.whole()
    assert whole.times is not None
    histories, times = (
        [list(array[start:end]) for start, end in itertools.pairwise(whole.offsets.tolist())]
        for array in (whole.items, whole.times // 10**9)
    )
    raw = [[f"i{number}" for number in one] for one in histories]
    assert users.held_out_time is not None
    asked = (users.held_out_time // 10**9).tolist()
    model = Recommender(stored)
    frame = model.recommend(raw, 20, times=times, request_time=asked)
    found = frame["item_id"].str.strip_prefix("i").cast(int).to_numpy().reshape(-1, 20)
    np.testing.assert_array_equal(found, measured.evaluation.ids[:, :20])
    with pytest.warns(UntimedWarning, match="20 of 20 histories have no times"):
        model.recommend(raw, 20)
    with pytest.warns(UntimedWarning, match="20 of 20 histories have no request time"):
        model.recommend(raw, 20, times=times)


def test_recommender_leaves_out_the_times_of_unknown_items(stored: StoredModel) -> None:
    model = Recommender(stored)
    known = {"times": [[0, 9 * HOUR]], "request_time": 10 * HOUR}
    expected = model.recommend([["i3", "i4"]], 5, **known)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="1 of 3 items"):
        found = model.recommend(
            [["i3", "nobody", "i4"]],
            5,
            times=[["1970-01-01", "1970-01-01T05:00", np.datetime64(9 * HOUR, "s")]],
            request_time="1970-01-01T10:00Z",
        )
    assert found.equals(expected)


@pytest.mark.parametrize(
    ("times", "request_time", "said"),
    [
        ([[1, 2, 3]], 4, "3 times for a history of 2 items"),
        ([[5, 2]], 9, "must be in order"),
        ([[2, 5]], 4, "before the last item"),
        ([[2, 1_700_000_000_000]], None, "seconds since 1970"),
        ([["yesterday", 3]], None, "seconds since 1970"),
        ([[None, 3]], None, "seconds since 1970"),
        (["12"], None, "a list of times"),
        ([[1, 2], [3]], None, "one for each of the 1 histories"),
        (None, 4, "only with the times"),
    ],
)
def test_recommender_refuses_what_are_no_times(
    stored: StoredModel, times: Any, request_time: Any, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Recommender(stored).recommend([["i3", "i4"]], 5, times=times, request_time=request_time)
    assert said in str(refused.value)


def test_recommend_takes_times_from_flags_files_and_the_data(
    timed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    asked = ("recommend", timed.path, "--data-dir", small_data)
    history = ("--history", "i3 i4", "--times", "0 3600")
    done = reprise(*asked, *history, "--request-time", "1970-01-01T02:00", "--json")
    (by_flags,) = json.loads(done.stdout)["lists"]
    assert by_flags["time_bias"] == "gaps+request"
    lines = [
        {"history": ["i3", "i4"], "times": [0, 3600], "request_time": 7200},
        {"history": ["i3", "i4"]},
    ]
    source, output = tmp_path / "histories.jsonl", tmp_path / "lists.jsonl"
    source.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    done = reprise(*asked, "--histories", source, "--output", output)
    assert "1 of 2 histories have no times" in done.stderr, done.stderr
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert found[0]["items"] == by_flags["items"]
    assert [one["time_bias"] for one in found] == ["gaps+request", "none"]
    done = reprise(*asked, "--user", "u3", "--json")
    assert json.loads(done.stdout)["lists"][0]["time_bias"] == "gaps"
    assert "no request time" in done.stderr
    source.write_text(json.dumps({"history": ["i3"], "times": [1, 2]}) + "\n")
    done = reprise(*asked, "--histories", source, "--output", tmp_path / "other.jsonl")
    check_refusal(done, 3, "line 1", "2 times for a history of 1 items")
    check_refusal(reprise(*asked, "--user", "u3", "--times", "1 2"), 2, "--times belongs to")


def test_server_with_times_answers_as_the_recommender(timed: RunFolder) -> None:
    """One request's lists, whoever else asks; what are no times is refused."""
    served = ServedModel(Recommender(from_checkpoint(loader_of(timed.path).find())), "best")
    body = {"histories": [["i3", "i4"], ["i7"]], "times": [[0, "1970-01-01T01:00Z"], [5]]}
    with serving(service_of(served)) as client:
        lists = client.post("/v1/recommend", json=body | {"request_time": 7200, "n": 5}).json()[
            "lists"
        ]
        plain = client.post("/v1/recommend", json={"histories": [["i3", "i4"]], "n": 5}).json()
        (vectors,) = client.post("/v1/users/vectors", json=body).json()["vectors"][:1]
        refused = [
            client.post("/v1/recommend", json=body | changes)
            for changes in ({"times": [[9, 3], [1]]}, {"times": [[1]]}, {"times": [["x", 1], [1]]})
        ]
        wrong = client.post("/v1/recommend", json=body | {"times": [{}]})
    assert [one["time_bias"] for one in lists] == ["gaps+request"] * 2
    assert plain["lists"][0]["time_bias"] == "none"
    model = served.recommender
    frame = model.recommend(body["histories"], 5, times=[[0, 3600], [5]], request_time=7200)  # type: ignore[arg-type]
    shown = [item["score"] for one in lists for item in one["items"]]
    assert shown == frame["score"].to_list()
    with pytest.warns(UntimedWarning):
        own = model.user_vectors([["i3", "i4"]], times=[[0, 3600]])
    np.testing.assert_array_equal(np.float32(vectors), own[0])
    assert [one.status_code for one in refused] == [422] * 3
    assert "must be in order" in refused[0].json()["error"]["message"]
    assert wrong.status_code == 422
    assert "times[0]" in wrong.json()["error"]["message"]


# Data whose next item depends on time alone: on the hour of the request, or on how long it is since
# the last item. Four groups of ten items each.
GROUPS, SIZE = 4, 10


def periodic(kind: str, users: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield the items and times, in seconds, of a user."""
    time = 1_700_000_000
    for _ in range(users):
        chosen = int(rng.integers(GROUPS))
        gap = 60 * 20**chosen if kind == "gap" else int(rng.integers(100 * 24 * HOUR))
        time += gap + int(rng.integers(30))
        group = chosen if kind == "gap" else time // (6 * HOUR) % GROUPS
        yield 1 + group * SIZE + int(rng.integers(SIZE)), time


@pytest.mark.long
@pytest.mark.parametrize(("kind", "steps"), [("gap", 150), ("hour", 300)])
def test_model_with_times_finds_what_depends_on_them(kind: str, steps: int, tmp_path: Path) -> None:
    """Where a list of ten can hold the whole group that comes next, a model without times guesses
    one of four.
    """
    rng = np.random.default_rng(3)
    splits = {}
    for split, users in zip(SPLITS, (400, 50, 100), strict=True):
        pairs = [list(periodic(kind, 10, rng)) for _ in range(users)]
        items, times = np.array(pairs).transpose(2, 0, 1).reshape(2, -1)
        offsets = np.arange(users + 1) * 10
        splits[split] = Sequences(offsets, items.astype(np.int32), None, times * 10**9)
    draft = draft_of(splits, np.full(GROUPS * SIZE + 1, -1, np.int32))
    publish(dataclasses.replace(draft, evaluation="last"), "small", tmp_path / "small")
    shared: dict[str, Any] = {
        "model": "Queries",
        "encoder_layers": 1,
        "embedding_dim": 16,
        "hidden_size": 16,
        "batch_size": 64,
        "min_history": 1,
        "maxlen": 2,  # so that the last item, which tells of the request, is not one of many
        "learning_rate": 0.02,
        "sampler": "full",
        "max_steps": steps,
        "test_iter": steps,
        "normalize_history": True,
        "temperature": 0.1,
    }
    with_times: dict[str, Any] = {"time_bias": "gaps+request"} | (
        {"request_clock": "hour"} if kind == "hour" else {}
    )
    recalls = {}
    for name, more in (("with", with_times), ("without", {})):
        outcome, _, _ = run_small(tmp_path, tmp_path / name, **shared, **more)
        assert outcome.results is not None
        recalls[name] = outcome.results["test"]["recall@10"]
    assert recalls["without"] < 0.4
    assert recalls["with"] > 0.8


def test_export_of_a_file_reads_its_times(
    stored: StoredModel, plain: StoredModel, tmp_path: Path
) -> None:
    """A file with a split's histories, times and requests has the vectors of its evaluation."""
    users = users_of_split(stored.dataset, "test", 6, as_evaluated=True)
    past, held_out = users.histories.past.whole(), users.histories.held_out_time
    assert past.times is not None
    assert held_out is not None
    rows = {
        "raw_ids": [[f"i{item}" for item in own] for own in parts(past, past.items)],
        "times": [own.tolist() for own in parts(past, past.times // 10**9)],
        "request_time": (held_out // 10**9).tolist(),
    }
    rows["raw_ids"][2].insert(1, "unknown")
    rows["times"][2].insert(1, rows["times"][2][0])
    table = pl.DataFrame(rows)
    said: list[str] = []

    def vectors(model: StoredModel, users: Users, name: str) -> tuple[Any, dict[str, Any]]:
        write(model, users, tmp_path / name)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())["users"]
        return np.load(tmp_path / name / "interests.npy"), manifest

    def of_file(model: StoredModel, name: str, frame: pl.DataFrame) -> Users:
        said.clear()
        frame.write_parquet(tmp_path / f"{name}.parquet")
        say = lambda key, **values: said.append(key)  # noqa: E731
        return users_of_file(tmp_path / f"{name}.parquet", model, say)

    expected, manifest = vectors(stored, users, "split")
    assert (manifest["timed"], manifest["request_time"]) == (True, "first-held-out")
    found, manifest = vectors(stored, of_file(stored, "file", table), "file")
    assert said == ["histories_unknown"]
    assert (manifest["timed"], manifest["request_time"]) == (True, "given")
    assert found.tobytes() == expected.tobytes()
    found, manifest = vectors(stored, of_file(stored, "bare", table.select("raw_ids")), "bare")
    assert said == ["histories_unknown", "times_missing"]
    assert (manifest["timed"], manifest["request_time"]) == (False, None)
    assert found.tobytes() != expected.tobytes()
    _, manifest = vectors(stored, of_file(stored, "unasked", table.drop("request_time")), "gaps")
    assert said == ["histories_unknown", "request_time_missing"]
    assert (manifest["timed"], manifest["request_time"]) == (True, None)
    _, manifest = vectors(plain, of_file(plain, "unread", table), "unread-export")
    assert said == ["histories_unknown", "times_unread"]
    assert "timed" not in manifest
    short = table.with_columns(times=pl.col("times").list.head(1))
    with pytest.raises(DataError, match=r"short\.parquet, line 1: "):
        of_file(stored, "short", short)


def parts(own: Sequences, values: Any) -> list[Any]:
    return np.split(values, own.offsets[1:-1])
