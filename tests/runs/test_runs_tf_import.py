"""Import of TensorFlow checkpoints, written here by TensorFlow itself."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from helpers.builders_tf import (
    DIM,
    HIDDEN,
    INTERESTS,
    ITEMS,
    KERAS,
    LENGTH,
    TF1_NAMES,
    UPDATES,
    LegacyOptimizer,
    Trained,
    attention_module,
    histories,
    tf,
    train_keras,
    train_tf1,
)
from helpers.commands import Recorder, run_small, small_config
from reprise.checkpoints import store
from reprise.data.dataset import open_dataset
from reprise.errors import RepriseError, UsageError
from reprise.importers.tensorflow.checkpoint import updates_of
from reprise.importers.tensorflow.run import Imported, ImportRequest, import_checkpoint
from reprise.models.registry import get_model
from reprise.runs.evaluation import evaluate_run
from reprise.runs.session import Request, run_session
from reprise.training.optimizers import adam, make_update
from reprise.training.state import Best, Snapshot

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def read(
    data: Path,
    runs: Path,
    source: Path,
    model: str | None,
    said: list[str] | dict[str, Any] | None = None,
    **asked: Any,
) -> tuple[Imported, Snapshot]:
    """Import into `runs` with the small run's settings, sizes left to the checkpoint; `said` gets
    the keys of what is said, or what is said by key.
    """
    given: dict[str, Any] = {"dataset": "small", "name": "t", "batch_size": 16, "test_iter": 4}
    given |= {} if model is None else {"model": model}
    given |= {"negatives": 16, "top_n": 10, "max_steps": 8} | asked.pop("values", {})
    request = ImportRequest(source, given, data / "small", runs, **asked)

    def say(key: str, **values: object) -> None:
        if isinstance(said, dict):
            said[key] = values
        elif said is not None:
            said.append(key)

    imported = import_checkpoint(request, say)
    stored = store.scan(imported.folder.checkpoints, on_damage=lambda path, reason: None)
    return imported, store.load(stored[-1])


def measured(data: Path, imported: Imported) -> float:
    """The imported model's recall, as `reprise evaluate` measures it."""
    run = imported.folder.path
    found = evaluate_run(run, lambda name: data / name, "valid", "best", lambda key, **_: None)
    return found.evaluation.metrics["recall@10"]


def our_interests(model: str, snapshot: Snapshot) -> Any:
    ids = histories()
    params = {
        name.removeprefix("params."): jnp.asarray(array)
        for name, array in snapshot.arrays.items()
        if name.startswith("params.")
    }
    mask = jnp.asarray(ids > 0, jnp.float32)
    history = jnp.asarray(snapshot.arrays["rows"][ids, :DIM])
    return get_model(model).interests(params, history, mask)


def check_arrays(trained: Trained, snapshot: Snapshot) -> None:
    """Every value and moment is TensorFlow's own, to the bit; the padding row is zero."""
    rows = np.split(snapshot.arrays["rows"], 3, axis=1)
    for ours, arrays in trained.weights.items():
        for group, theirs, packed in zip(("params", "m", "v"), arrays, rows, strict=True):
            if ours == "rows":
                assert np.array_equal(packed[1:], theirs[1:])
                assert not packed[0].any()
            else:
                mine = snapshot.arrays[f"{group}.{ours}"]
                assert np.array_equal(mine.ravel(), np.ravel(theirs))
    assert any(arrays[1].any() for arrays in trained.weights.values())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """Checkpoints by (kind, model, with best?), each trained once."""
    made: dict[tuple[Any, ...], Trained] = {}

    def get(kind: str, model: str, best: float | None = None) -> Trained:
        key = (kind, model, best)
        if key not in made:
            folder = tmp_path_factory.mktemp("tf")
            if kind == "tf1":
                made[key] = train_tf1(model, folder)
            else:
                extra = {} if best is None else {"best_metric": tf.Variable(best)}
                made[key] = train_keras(model, folder, **extra)
        return made[key]

    return get


@pytest.mark.parametrize(("model", "layers"), [*((m, 0) for m in sorted(KERAS)), ("ComiRec-SA", 1)])
def test_import_reads_keras_3_weights_moments_step_rate_and_best(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained], model: str, layers: int
) -> None:
    theirs, said = trained("keras", model, 0.25), list[str]()
    asked = {"values": {"encoder_layers": layers}}  # which adds a fresh encoder
    imported, snapshot = read(small_data, tmp_path, theirs.prefix.parent, model, said, **asked)
    check_arrays(theirs, snapshot)
    assert ("v.encoder.0.query" in snapshot.arrays) == (layers > 0)
    assert np.abs(our_interests(model, snapshot) - theirs.interests).max() < 1e-5
    config, progress = imported.config, snapshot.progress
    assert (config.maxlen, config.embedding_dim) == (LENGTH, DIM)
    assert (config.num_interest, config.hidden_size) == (INTERESTS, HIDDEN)
    assert (config.learning_rate, progress.learning_rate) == (0.007, 0.007)
    assert progress.best == Best(measured(small_data, imported), UPDATES, 0)
    assert progress.step == UPDATES
    assert progress.is_best
    assert said == ["tf_model_given", "tf_rate_stored", "tf_step_stored", "tf_best_differs"]
    assert (imported.unused, imported.without_moments) == ((), ())
    event = json.loads(imported.folder.record.read_text())["events"][-1]
    assert (event["event"], event["from"]) == ("imported", str(theirs.prefix))


@pytest.mark.parametrize("model", sorted(KERAS))
def test_import_continues_with_the_update_that_keras_makes(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained], model: str
) -> None:
    theirs = trained("keras", model, 0.25)
    _, snapshot = read(small_data, tmp_path, theirs.prefix, model)
    rate = make_update(0.007, UPDATES + 1).rate
    for ours, (gradient, after) in theirs.next_weights.items():
        if ours != "rows":
            value, m, v = (
                jnp.asarray(snapshot.arrays[f"{group}.{ours}"]) for group in ("params", "m", "v")
            )
            gradient = jnp.asarray(gradient).reshape(value.shape)
            mine, _, _ = adam(value, m, v, gradient, jnp.float32(rate))
            assert np.abs(mine - after.reshape(value.shape)).max() < 1e-6


@pytest.mark.parametrize("model", sorted(TF1_NAMES))
def test_import_reads_checkpoints_of_the_original_code(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained], model: str
) -> None:
    theirs = trained("tf1", model)
    said: list[str] = []
    imported, snapshot = read(small_data, tmp_path, theirs.prefix, model, said)
    check_arrays(theirs, snapshot)
    assert np.abs(our_interests(model, snapshot) - theirs.interests).max() < 1e-5
    assert snapshot.progress.step == UPDATES
    assert [variable.name for variable in imported.unused] == ["bias_lookup_table"]
    assert said == ["tf_model_given", "tf_rate_default", "tf_step_stored", "tf_best_measured"]


def test_import_reads_names_under_a_scope(small_data: Path, tmp_path: Path) -> None:
    theirs = train_tf1("ComiRec-SA", tmp_path / "tf", scope="tower")
    imported, snapshot = read(small_data, tmp_path, theirs.prefix, "ComiRec-SA")
    check_arrays(theirs, snapshot)
    assert imported.reading.variables["hidden"].name == "tower/self_atten/dense/kernel"


def test_import_reads_keras_2_moments_by_their_names(small_data: Path, tmp_path: Path) -> None:
    module, values = attention_module()
    checkpoint = tf.train.Checkpoint(model=module, optimizer=LegacyOptimizer(values))
    prefix = Path(checkpoint.save(str(tmp_path / "tf" / "ckpt")))
    imported, snapshot = read(small_data, tmp_path, prefix, "ComiRec-SA")
    weights = {name.removeprefix("net/"): (a, a * 2, a**2) for name, a in values.items()}
    check_arrays(Trained(prefix, None, weights, {}), snapshot)
    assert (imported.progress.step, imported.without_moments) == (5, ())


def test_import_reads_keras_2_slots_of_the_variables(small_data: Path, tmp_path: Path) -> None:
    module = attention_module()[0]
    optimizer = tf.compat.v1.train.AdamOptimizer(0.01)
    for scale in (1.0, 2.0):
        grads = [(tf.ones_like(v) * scale, v) for v in module.trainable_variables]
        optimizer.apply_gradients(grads)
    checkpoint = tf.train.Checkpoint(model=module, optimizer=optimizer)
    prefix = Path(checkpoint.save(str(tmp_path / "tf" / "ckpt")))
    keys = [key for key, _ in tf.train.list_variables(str(prefix))]
    assert any(".OPTIMIZER_SLOT/optimizer/m" in key for key in keys)
    _, snapshot = read(small_data, tmp_path, prefix, "ComiRec-SA")
    weights = {}
    for name in TF1_NAMES["ComiRec-SA"]:
        variable = getattr(module, f"net_{name}")
        slots = (optimizer.get_slot(variable, slot).numpy() for slot in "mv")
        weights[name] = (variable.numpy(), *slots)
    check_arrays(Trained(prefix, None, weights, {}), snapshot)
    assert snapshot.progress.step == 2


def test_import_starts_uncertain_moments_at_zero_and_reports_them(
    small_data: Path, tmp_path: Path
) -> None:
    module, values = attention_module()
    optimizer = LegacyOptimizer(values, duplicate=True)
    checkpoint = tf.train.Checkpoint(model=module, optimizer=optimizer)
    prefix = Path(checkpoint.save(str(tmp_path / "tf" / "ckpt")))
    said: list[str] = []
    imported, snapshot = read(small_data, tmp_path, prefix, "ComiRec-SA", said)
    assert set(imported.without_moments) == set(imported.reading.variables)
    assert not snapshot.arrays["m.hidden"].any()
    assert "tf_moments_missing" in said


def test_import_measures_the_model_without_a_stored_best(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    for name, best in (("absent", None), ("zero", 0.0)):
        said: list[str] = []
        theirs = trained("keras", "ComiRec-SA", best)
        imported, _ = read(
            small_data, tmp_path, theirs.prefix, "ComiRec-SA", said, values={"name": name}
        )
        assert said[-1] == "tf_best_measured"
        assert imported.progress.best == Best(measured(small_data, imported), UPDATES, 0)


@pytest.mark.parametrize("top_n", [10, 20])
def test_import_measures_a_stored_best_again_and_reports_both(
    small_data: Path, tmp_path: Path, top_n: int
) -> None:
    """It may be another cutoff's, or of data with other item numbers."""
    first = train_keras("ComiRec-SA", tmp_path / "first")
    asked: dict[str, Any] = {"values": {"name": "first"}}
    imported, _ = read(small_data, tmp_path, first.prefix, "ComiRec-SA", **asked)
    at_10 = measured(small_data, imported)
    best = tf.Variable(at_10 * (1 + 1e-5))  # rounded otherwise
    stored = train_keras("ComiRec-SA", tmp_path / "stored", best_metric=best)
    told: dict[str, Any] = {}
    asked = {"values": {"name": "again", "top_n": top_n}}
    imported, _ = read(small_data, tmp_path, stored.prefix, "ComiRec-SA", told, **asked)
    mark = imported.progress.best
    assert mark is not None
    key = "tf_best_stored" if top_n == 10 else "tf_best_differs"
    assert told[key] == {
        "metric": f"recall@{top_n}",
        "measured": f"{mark.metric:.6f}",
        "known": f"{best.numpy():.6f}",
    }
    assert (mark.metric == at_10) == (top_n == 10)


def test_import_takes_a_given_best_metric(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    said: list[str] = []
    source = trained("tf1", "ComiRec-DR").prefix
    imported, _ = read(small_data, tmp_path, source, "ComiRec-DR", said, best_metric=0.5, step=8)
    assert imported.progress.best == Best(0.5, 8, 0)
    assert said[2:] == ["tf_step_overridden", "tf_best_given_differs"]
    source = trained("keras", "ComiRec-SA", 0.25).prefix
    asked: dict[str, Any] = {"values": {"name": "known"}, "best_metric": 0.5}
    imported, _ = read(small_data, tmp_path, source, "ComiRec-SA", said, **asked)
    assert imported.progress.best == Best(measured(small_data, imported), UPDATES, 0)
    assert said[-2:] == ["tf_best_differs", "best_metric_unused"]


@pytest.mark.parametrize("resume_from", ["latest", "best"])
def test_import_can_be_trained_further(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained], resume_from: Any
) -> None:
    source = trained("keras", "ComiRec-DR", 0.25).prefix
    imported, _ = read(small_data, tmp_path, source, "ComiRec-DR")
    recorder = Recorder()
    request = Request(imported.config, small_data / "small", imported.folder, resume_from)
    outcome = run_session(request, recorder)
    assert recorder.keys == ["restored", "training_begins"]
    assert recorder.resumption is not None
    assert recorder.resumption.snapshot.progress == imported.progress
    assert [line["step"] for line in recorder.lines] == [4, 8]
    assert (outcome.progress.step, outcome.exit_code) == (8, 0)


def test_import_refuses_an_existing_run(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    theirs = trained("keras", "ComiRec-SA", 0.25)
    _, _, folder = run_small(small_data, tmp_path, max_steps=4)
    before = sorted(folder.path.rglob("*"))
    values = {"learning_rate": small_config().learning_rate}
    with pytest.raises(UsageError) as refusal:
        read(small_data, tmp_path, theirs.prefix, "ComiRec-SA", values=values)
    assert refusal.value.key == "run_exists"
    assert sorted(folder.path.rglob("*")) == before


def check_refused(
    key: str, data: Path, runs: Path, source: Path, model: str, **asked: Any
) -> RepriseError:
    with pytest.raises(RepriseError) as refusal:
        read(data, runs, source, model, **asked)
    assert refusal.value.key == key
    assert str(refusal.value)
    assert not list(runs.glob("small_*"))
    return refusal.value


def test_import_refuses_what_does_not_fit(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    theirs = trained("keras", "ComiRec-SA", 0.25).prefix
    where = (small_data, tmp_path, theirs)
    check_refused("tf_no_reading", *where, "ComiRec-DR")
    sizes = {"maxlen": 7, "num_interest": INTERESTS}
    refused = check_refused("tf_sizes_differ", *where, "ComiRec-SA", values=sizes)
    assert refused.values["differences"] == f"  maxlen: {LENGTH} -> 7"
    mapped = {"heads": "model/hidden/_kernel"}
    check_refused("tf_no_reading", *where, "ComiRec-SA", mapped=mapped)
    check_refused("tf_unknown_variable", *where, "ComiRec-SA", mapped={"heads": "nowhere"})
    mapped = {"nothing": "model/hidden/_kernel"}
    check_refused("tf_unknown_parameter", *where, "ComiRec-SA", mapped=mapped)
    check_refused("bad_value", *where, "ComiRec-SA", step=0)


def test_import_refuses_another_catalogue_with_both_sizes(
    demo_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    request = ImportRequest(
        trained("keras", "ComiRec-SA", 0.25).prefix,
        {"dataset": "demo", "name": "t", "model": "ComiRec-SA"},
        demo_data / "demo",
        tmp_path,
    )
    with pytest.raises(UsageError) as refusal:
        import_checkpoint(request, lambda key, **values: None)
    items = open_dataset(demo_data / "demo").num_items
    assert f"{items} items" in str(refusal.value)
    assert f"[{ITEMS + 1}, {DIM}]" in str(refusal.value)


def test_import_tells_two_tables_apart_by_name_or_map(small_data: Path, tmp_path: Path) -> None:
    def stored(name: str, **tables: Any) -> Path:
        folder = tmp_path / "tf" / name
        module, _ = attention_module()
        for attribute, value in tables.items():
            setattr(module, attribute, tf.Variable(value, name=attribute))
        return Path(tf.train.Checkpoint(model=module).save(str(folder / "ckpt")))

    other = np.ones((ITEMS + 1, DIM), np.float32)
    alike = stored("alike", net_rows2=other)
    refused = check_refused("tf_ambiguous", small_data, tmp_path, alike, "ComiRec-SA", step=4)
    assert "--map rows=model/net_rows" in refused.values["choices"]
    for name, source, mapped in (
        ("by-hand", alike, {"rows": "model/net_rows2"}),
        ("by-name", stored("named", item_embedding=other), {}),
    ):
        asked: dict[str, Any] = {"step": 4, "mapped": mapped}
        where = (small_data, tmp_path / name, source, "ComiRec-SA")
        refused = check_refused("tf_unused_perhaps", *where, **asked)
        assert refused.values["options"] == "--ignore model/net_rows"
        asked |= {"ignored": frozenset({"model/net_rows"}), "values": {"name": name}}
        _, snapshot = read(*where, **asked)
        assert (snapshot.arrays["rows"][1:, :DIM] == 1).all()


def test_import_asks_for_an_unknown_step(small_data: Path, tmp_path: Path) -> None:
    module, _ = attention_module()
    prefix = Path(tf.train.Checkpoint(model=module).save(str(tmp_path / "tf" / "ckpt")))
    check_refused("tf_step_unknown", small_data, tmp_path, prefix, "ComiRec-SA")


def test_import_refuses_nan(small_data: Path, tmp_path: Path) -> None:
    module, _ = attention_module()
    module.net_heads.assign(module.net_heads * np.nan)
    prefix = Path(tf.train.Checkpoint(model=module).save(str(tmp_path / "tf" / "ckpt")))
    check_refused("tf_not_finite", small_data, tmp_path, prefix, "ComiRec-SA", step=4)


@pytest.mark.parametrize("harm", ["flip", "cut", "no data", "index cut", "index flip"])
def test_import_reports_damage_in_one_line(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained], harm: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained("keras", "ComiRec-DR", 0.25).prefix.parent, folder)
    data, index = folder / "ckpt-11.data-00000-of-00001", folder / "ckpt-11.index"
    target = index if harm.startswith("index") else data
    content = bytearray(target.read_bytes())
    for place in range(0, len(content), 16):
        content[place] ^= 0x10
    if harm == "no data":
        data.unlink()
    else:
        target.write_bytes(content if "flip" in harm else content[: len(content) // 2])
    check_refused("tf_damaged", small_data, tmp_path, folder, "ComiRec-DR")


def test_import_reports_missing_tensorflow(
    small_data: Path,
    tmp_path: Path,
    trained: Callable[..., Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = trained("keras", "ComiRec-DR", 0.25).prefix
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    refused = check_refused("tf_not_installed", small_data, tmp_path, source, "ComiRec-DR")
    assert refused.exit_code == 2
    assert "pip install 'reprise-rec[tf]'" in str(refused)


def test_updates_of_inverts_the_power_of_beta2() -> None:
    power = np.float32(0.999)
    for updates in range(2000):
        if updates in (0, 1, 7, 1999):
            assert updates_of(power) == updates
        power = power * np.float32(0.999)
    for unclear in (0.0, 1e-42, 0.99, 1.0, np.nan):
        assert updates_of(np.float32(unclear)) is None


def test_train_loss_after_an_import_is_the_mean_over_the_steps_trained(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    """Imported between two evaluations, the first of them is of few steps."""
    source = trained("keras", "ComiRec-DR", 0.25).prefix
    losses: dict[int, dict[int, float]] = {}
    for test_iter in (1, 4):
        asked: dict[str, Any] = {"values": {"test_iter": test_iter, "name": f"every-{test_iter}"}}
        imported, _ = read(small_data, tmp_path, source, "ComiRec-DR", **asked)
        recorder = Recorder()
        run_session(Request(imported.config, small_data / "small", imported.folder), recorder)
        losses[test_iter] = {line["step"]: line["train_loss"] for line in recorder.lines}
    assert list(losses[4]) == [4, 8]
    assert losses[4][4] == pytest.approx(losses[1][4])
    assert losses[4][8] == pytest.approx(np.mean([losses[1][step] for step in (5, 6, 7, 8)]))


def test_import_for_a_final_fit_measures_nothing(
    small_data: Path, tmp_path: Path, trained: Callable[..., Trained]
) -> None:
    said: list[str] = []
    asked: dict[str, Any] = {"values": {"train_users": "all"}}
    source = trained("keras", "ComiRec-DR", 0.25).prefix
    imported, _ = read(small_data, tmp_path, source, "ComiRec-DR", said, **asked)
    assert imported.progress.best is None
    assert said == ["tf_model_given", "tf_rate_stored", "tf_step_stored"]
