"""The Python API: results and errors of `reprise.prepare`, `train`, `load` and `evaluate`."""

import json
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import reprise
from helpers.commands import SIZES, check_same_end, state_digest
from helpers.commands import reprise as command
from reprise.data.dataset import Dataset
from reprise.errors import ConfigMismatchError, DataError, RepriseError, UsageError
from reprise.retrieval.vectors import user_vectors
from reprise.runs.folder import RunFolder
from reprise.serving.recommender import UnknownItemsWarning
from reprise.show.run import RunConsole
from reprise.training.state import TrainState

SMALL: dict[str, Any] = {**SIZES, "test_iter": 5}


def train(data: Path, runs: Path, **settings: Any) -> reprise.Run:
    given = {**SMALL, "name": "t", "steps": 20, **settings}
    run: reprise.Run = reprise.train("small", data_dir=data, runs_dir=runs, **given)
    return run


@pytest.fixture(scope="module")
def trained(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> reprise.Run:
    """A run of twenty steps, never stopped; only to be looked at."""
    return train(small_data, tmp_path_factory.mktemp("runs"))


def clicks() -> pl.DataFrame:
    person = np.repeat(np.arange(60), 8)
    item = (person % 3) * 10 + np.random.default_rng(3).integers(0, 10, len(person))
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in person],
            "item_id": [f"sku-{n}" for n in item],
            "timestamp": 1_700_000_000 + np.arange(len(person)),
        }
    )


# ---- prepare, open_dataset ----


@pytest.mark.parametrize("kind", ["file", "polars", "pandas", "pyarrow"])
def test_prepare_takes_a_file_and_frames(kind: str, tmp_path: Path) -> None:
    source: Any = clicks()
    if kind == "file":
        source.write_csv(tmp_path / "clicks.csv")
        source = tmp_path / "clicks.csv"
    elif kind != "polars":
        library = pytest.importorskip(kind, reason=f"{kind} is not installed")
        columns = source.to_dict(as_series=False)
        source = library.DataFrame(columns) if kind == "pandas" else library.table(columns)
    data = reprise.prepare(source, name="clicks", data_dir=tmp_path / "data")
    beside = reprise.prepare(clicks(), name="beside", data_dir=tmp_path / "data")
    assert (data.fingerprint, data.item_ids_digest) == (beside.fingerprint, beside.item_ids_digest)
    assert repr(data) == (
        "Dataset('clicks': 30 items, users train 48, valid 6, test 6, 480 interactions, "
        f"{tmp_path / 'data' / 'clicks'})"
    )
    for again in (
        reprise.open_dataset("clicks", tmp_path / "data"),
        reprise.open_dataset(tmp_path / "data" / "clicks"),
    ):
        assert again.fingerprint == data.fingerprint


def test_prepare_takes_columns_of_any_name(tmp_path: Path) -> None:
    names = {"user_id": "who", "item_id": "what", "timestamp": "when"}
    renamed = clicks().rename(names)
    named: dict[str, Any] = {"user_col": "who", "item_col": "what", "time_col": "when"}
    data = reprise.prepare(renamed, name="a", data_dir=tmp_path, **named)
    assert data.fingerprint == reprise.prepare(clicks(), name="b", data_dir=tmp_path).fingerprint
    with pytest.raises(UsageError) as caught:
        reprise.prepare(renamed, name="c", data_dir=tmp_path, user_col="woh", item_col="wat")
    assert str(caught.value) == (
        'user_col="woh", item_col="wat": the frame has no such column; '
        "its columns are who, what, when. Did you mean 'who', 'what'?"
    )


def test_prepare_names_the_columns_of_a_frame_that_lacks_some(tmp_path: Path) -> None:
    names = {"user_id": "the customer", "item_id": "sku", "timestamp": "created_at"}
    with pytest.raises(DataError) as caught:
        reprise.prepare(clicks().rename(names), name="c", data_dir=tmp_path)
    options = 'user_col="the customer", item_col="sku", time_col="created_at"'
    assert str(caught.value) == (
        "The frame has no column of user, item, time; "
        f"its columns are the customer, sku, created_at. Name it: {options}."
    )
    named: dict[str, Any] = dict(part.split("=") for part in options.replace('"', "").split(", "))
    reprise.prepare(clicks().rename(names), name="c", data_dir=tmp_path, **named)
    missing = clicks().with_columns(pl.lit(None, pl.String).alias("item_id"))
    with pytest.raises(DataError, match=r"^the frame, row 1: the item is ''"):
        reprise.prepare(missing, name="d", data_dir=tmp_path)


def test_prepare_replaces_a_data_set_where_that_is_asked_for(tmp_path: Path) -> None:
    reprise.prepare(clicks().head(300), name="c", data_dir=tmp_path)
    with pytest.raises(DataError, match="already exists"):
        reprise.prepare(clicks(), name="c", data_dir=tmp_path)
    data = reprise.prepare(clicks(), name="c", data_dir=tmp_path, overwrite=True)
    assert data.meta["source"]["read"]["interactions"] == 480
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


# ---- train ----


def test_train_continues_an_existing_run(
    small_data: Path, tmp_path: Path, trained: reprise.Run
) -> None:
    part = train(small_data, tmp_path, steps=10)
    assert part.history["step"].to_list() == [5, 10]
    whole = train(small_data, tmp_path)
    assert whole.path == part.path
    check_same_end(RunFolder(whole.path), RunFolder(trained.path))
    before = state_digest(RunFolder(whole.path))
    assert train(small_data, tmp_path).best == whole.best  # nothing left to do
    assert state_digest(RunFolder(whole.path)) == before


def test_train_interrupted_saves_raises_and_continues_to_the_same_end(
    small_data: Path,
    tmp_path: Path,
    trained: reprise.Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(console: RunConsole, state: TrainState) -> None:
        if state.progress.step == 13:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(RunConsole, "stepped", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(small_data, tmp_path, progress=True)
    assert signal.getsignal(signal.SIGINT) is handler
    assert "Stopping at step 13" in capsys.readouterr().out
    resumed = train(small_data, tmp_path, progress=True)
    assert "Resumed at step 13" in capsys.readouterr().out
    check_same_end(RunFolder(resumed.path), RunFolder(trained.path))


def test_train_is_silent_unless_progress_is_asked_for(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small_data, tmp_path, steps=5)
    assert capsys.readouterr().out == ""
    train(small_data, tmp_path, steps=10, progress=True, lang="zh")
    assert "实验目录" in capsys.readouterr().out


def test_train_takes_keywords_over_the_file_over_the_preset(
    small_data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "my.toml"
    file.write_text('preset = "modern"\nmaxlen = 7\ntemperature = 0.5\n')
    few = {name: SMALL[name] for name in ("batch_size", "embedding_dim", "hidden_size")}
    run = reprise.train(
        "small",
        name="t",
        config=file,
        data_dir=small_data,
        runs_dir=tmp_path,
        steps=2,
        test_iter=2,
        temperature=0.25,
        **few,
    )
    found = {name: run.config[name] for name in ("model", "maxlen", "temperature", "max_steps")}
    assert found == {"model": "Queries", "maxlen": 7, "temperature": 0.25, "max_steps": 2}


# ---- Run ----


def test_run_shows_what_its_folder_holds(trained: reprise.Run) -> None:
    history = trained.history
    assert history["step"].to_list() == [5, 10, 15, 20]
    assert {"branch", "train_loss", "valid_recall@10"} <= set(history.columns)
    assert trained.best is not None
    row = history.row(by_predicate=pl.col("step") == trained.best["step"], named=True)
    assert trained.best["recall@10"] == row["valid_recall@10"] == history["valid_recall@10"].max()
    recall = f"recall@10 {trained.best['recall@10']:.6f} @ {trained.best['step']}"
    assert trained.name == "t"
    assert repr(trained) == f"Run('t': finished, step 20, best {recall}, {trained.path})"
    html = trained._repr_html_()
    for shown in ("finished", "ComiRec-SA", "small", "20 / 20", recall, str(trained.path)):
        assert f"<td>{shown}</td>" in html


# ---- load ----


def test_load_by_run_path_checkpoint_and_name(trained: reprise.Run, small_data: Path) -> None:
    assert trained.best is not None
    best = trained.path / "checkpoints" / f"ckpt-{trained.best['step']}"
    models = [
        reprise.load(trained),
        reprise.load(trained.path),
        reprise.load(str(best)),
        reprise.load("t", runs_dir=trained.path.parent),
    ]
    for model in models:
        assert np.array_equal(model.item_vectors(), models[0].item_vectors())
    assert repr(models[0]) == (
        f"Recommender(ComiRec-SA on small, step {trained.best['step']}: 40 items, d 8)"
    )
    latest = reprise.load(trained, which="latest")
    assert latest.stored.checkpoint.progress.step == 20


def test_load_needs_no_data_set(tmp_path: Path) -> None:
    data = reprise.prepare(clicks(), name="clicks", data_dir=tmp_path / "data")
    run = reprise.train(data, name="t", runs_dir=tmp_path, steps=5, **SMALL)
    ids = data.about_items().sort("item")["raw_id"].to_list()
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    model = reprise.load(run)
    assert model.item_ids == ids
    assert model.item_vectors().shape == (30, 8)
    assert np.array_equal(model.item_vectors(), model.stored.retriever.item_vectors()[1:])
    assert model.user_vectors([[ids[3], ids[0]]]).any()


def test_user_vectors_equal_those_that_are_evaluated(
    trained: reprise.Run, small_data: Path
) -> None:
    model, data = reprise.load(trained), reprise.open_dataset("small", small_data)
    users = data.evaluation_users("test", SMALL["maxlen"])
    evaluated = np.concatenate(list(user_vectors(model.stored.retriever, users)))
    count = len(users.lengths)
    past = users.past.of(0, count)
    histories = [
        [model.item_ids[item - 1] for item in past.items[start:end]]
        for start, end in zip(past.offsets, past.offsets[1:], strict=False)
    ]
    assert max(map(len, histories)) > SMALL["maxlen"]  # of which the last count
    assert np.array_equal(model.user_vectors(histories), evaluated[:count])


def test_user_vectors_count_unknown_items_in_a_warning(trained: reprise.Run) -> None:
    model = reprise.load(trained)
    one, two = model.item_ids[:2]
    with pytest.warns(UnknownItemsWarning, match="3 of 5 items are unknown") as caught:
        vectors = model.user_vectors([[one, "?", two], ["?", "!"]])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(vectors[0], model.user_vectors([[one, two]])[0])
        assert model.user_vectors([]).shape == (0, 2, 8)
    assert not vectors[1].any()


# ---- evaluate ----


def test_evaluate_returns_what_the_command_prints(trained: reprise.Run, small_data: Path) -> None:
    with pytest.warns(UserWarning, match=r"At 50, .* \(40 items\).* cutoffs=A,B"):
        facts = reprise.evaluate(trained, split="valid")
    done = command("evaluate", trained.path, "--split", "valid", "--data-dir", small_data, "--json")
    assert json.loads(done.stdout) == facts
    assert facts["recall@10"] == trained.best["recall@10"] if trained.best else False
    few = reprise.evaluate(
        "t", "valid", cutoffs=(3,), runs_dir=trained.path.parent, data_dir=small_data
    )
    assert few["cutoffs"] == [3]
    assert 0 < few["recall@3"] < facts["recall@10"]


# ---- Errors ----


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"model": "ComiRec-RD"}, UsageError),
        ({"learning_rate": -1.0}, UsageError),
        ({"negatives": "many"}, UsageError),
        ({"dataset": "nowhere"}, DataError),
    ],
)
def test_errors_equal_those_of_the_command_line(
    settings: dict[str, Any], kind: type[RepriseError], small_data: Path, tmp_path: Path
) -> None:
    given = {"dataset": "small", "name": "t", **SMALL, **settings}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    done = command("train", *flags, "--data-dir", small_data, "--runs-dir", tmp_path)
    with pytest.raises(kind) as refusal:
        reprise.train(given.pop("dataset"), data_dir=small_data, runs_dir=tmp_path, **given)
    assert done.returncode == refusal.value.exit_code
    # There the flag and the command, here the keyword and the call.
    told = done.stderr.replace("--learning-rate", "learning_rate")
    shell = f"reprise prepare SOURCE --name nowhere --data-dir {small_data}"
    told = told.replace(shell, f'reprise.prepare(SOURCE, name="nowhere", data_dir="{small_data}")')
    assert "many" in str(settings) or told == f"Error: {refusal.value}\n"


def test_errors_suggest_the_nearest_keyword(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'pacience'\. Did you mean 'patience'"):
        train(small_data, tmp_path, pacience=3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda api, run: api.load(run, which="bets"), "which = 'bets' .* best | latest"),
        (lambda api, run: api.evaluate(run, which="last"), "which = 'last' .* best | latest"),
        (lambda api, run: api.evaluate(run, split="tset"), "split = 'tset' .* valid | test"),
        (lambda api, run: api.evaluate(run, split="train"), "split = 'train' .* valid | test"),
        (lambda api, run: api.evaluate_lists("x", "small", split="x"), "split = 'x' .* valid | "),
        (lambda api, run: api.load(run).user_vectors(["i3"]), "histories = 'i3' .* list of item"),
        (lambda api, run: api.load(run).user_vectors("i3"), "histories = 'i3' .* list of item"),
        (lambda api, run: api.load(run).user_vectors([3]), "histories = 3 .* list of item ids"),
        (lambda api, run: api.train("d", name="x", resume_from="y"), "resume_from = 'y' .* best"),
        (lambda api, run: api.train("d", name="x", track="mlflo"), "track = 'mlflo' .* wandb"),
        (lambda api, run: api.evaluate(run, metrics="recal"), "metrics = 'recal' .* recall | "),
        (
            lambda api, run: api.prepare("x", "x", time_kol="t"),
            "'time_kol'. Did you mean 'time_col",
        ),
        (lambda api, run: api.prepare("x", "x", seperator="t"), "Did you mean 'separator'"),
        (lambda api, run: api.prepare(5, name="x"), "source = 'int' .* polars, pandas or pyarrow"),
    ],
)
def test_errors_name_a_value_that_is_none_of_those_expected(
    call: Callable[[Any, reprise.Run], object], said: str, trained: reprise.Run
) -> None:
    with pytest.raises(UsageError, match=said.replace("|", r"\|")):
        call(reprise, trained)


def test_errors_refuse_another_configuration(small_data: Path, tmp_path: Path) -> None:
    train(small_data, tmp_path, steps=5)
    with pytest.raises(ConfigMismatchError, match="num_interest: 2 -> 4"):
        train(small_data, tmp_path, num_interest=4)


def test_open_dataset_is_accepted_wherever_a_name_is(small_data: Path, tmp_path: Path) -> None:
    data = reprise.open_dataset("small", small_data)
    assert isinstance(data, Dataset)
    run = reprise.train(data, name="t", runs_dir=tmp_path, steps=5, **SMALL)
    assert run.data_dir == small_data
    assert reprise.evaluate(run, cutoffs=10)["users"] == 20
