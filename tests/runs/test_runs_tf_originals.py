"""Every model of ComiRec's original code, trained by TensorFlow under the original's names, imports
and gives TensorFlow's vectors; the state of several or of other optimizers is not taken for Adam's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from helpers.builders_tf import DIM, INTERESTS, ITEMS, LENGTH, histories, keras, tf
from helpers.networks_tf import NETWORKS
from reprise.checkpoints import store
from reprise.errors import CheckpointError, UsageError
from reprise.importers.tensorflow.checkpoint import TfCheckpoint, open_checkpoint
from reprise.importers.tensorflow.run import Imported, ImportRequest, import_checkpoint
from reprise.models.registry import get_model
from reprise.training.state import Snapshot

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
v1 = tf.compat.v1
STEPS = 10

# As the original's graphs name them (tf.layers.dense, GRUCell in dynamic_rnn under "gru1").
VARIABLES: dict[str, dict[str, tuple[str, list[int]]]] = {
    "ComiRec-DR": {
        "bilinear": ("capsule_network/bilinear/weights", [1, LENGTH, INTERESTS * DIM, DIM])
    },
    "ComiRec-SA": {
        "position": ("position_embedding", [1, LENGTH, DIM]),
        "hidden": ("self_atten/dense/kernel", [DIM, 4 * DIM]),
        "hidden_bias": ("self_atten/dense/bias", [4 * DIM]),
        "heads": ("self_atten/dense_1/kernel", [4 * DIM, INTERESTS]),
        "heads_bias": ("self_atten/dense_1/bias", [INTERESTS]),
    },
    "MIND": {
        "shared": ("capsule_network/bilinear/dense/kernel", [DIM, DIM]),
        "shared_bias": ("capsule_network/bilinear/dense/bias", [DIM]),
        "projection": ("capsule_network/proj/kernel", [DIM, DIM]),
        "projection_bias": ("capsule_network/proj/bias", [DIM]),
    },
    "DNN": {"dense": ("dense/kernel", [DIM, DIM]), "dense_bias": ("dense/bias", [DIM])},
    "GRU4REC": {
        "gates": ("gru1/gru_cell/gates/kernel", [2 * DIM, 2 * DIM]),
        "gates_bias": ("gru1/gru_cell/gates/bias", [2 * DIM]),
        "candidate": ("gru1/gru_cell/candidate/kernel", [2 * DIM, DIM]),
        "candidate_bias": ("gru1/gru_cell/candidate/bias", [DIM]),
    },
}
# What no shape of the model tells.
ASKED = {
    "MIND": {"maxlen": LENGTH, "num_interest": INTERESTS},
    "DNN": {"maxlen": LENGTH},
    "GRU4REC": {"maxlen": LENGTH},
}


def gated(params: Any, history: Any, mask: Any, start: Any) -> Any:
    """TensorFlow 1's GRUCell, step by step."""
    state = tf.zeros([history.shape[0], DIM])
    for place in range(LENGTH):
        item, real = history[:, place], mask[:, place, None]
        joined = tf.concat([item, state], 1) @ params["gates"] + params["gates_bias"]
        reset, update = tf.split(tf.sigmoid(joined), 2, axis=1)
        joined = tf.concat([item, reset * state], 1)
        candidate = tf.tanh(joined @ params["candidate"] + params["candidate_bias"])
        state = real * (update * state + (1 - update) * candidate) + (1 - real) * state
    return state[:, None]


def in_our_shape(name: str, value: Any) -> Any:
    """A value as the networks of the tests take it: without the axes of the original's sums."""
    if name == "bilinear":
        return tf.reshape(value, [LENGTH, INTERESTS, DIM, DIM])
    return tf.reshape(value, [LENGTH, DIM]) if name == "position" else value


def train_original(model: str, prefix: Path) -> dict[str, Any]:
    """Train the model in the original's graph for some steps, save it by Saver, and return its
    values by our names.
    """
    network = gated if model == "GRU4REC" else NETWORKS[model]
    with tf.Graph().as_default():
        v1.set_random_seed(3)
        rows = v1.get_variable("mid_embedding_var", [ITEMS + 1, DIM])
        v1.get_variable(
            "bias_lookup_table", [ITEMS + 1], initializer=tf.zeros_initializer(), trainable=False
        )
        made = {ours: v1.get_variable(*spec) for ours, spec in VARIABLES[model].items()}
        ids = tf.constant(histories())
        mask = tf.cast(ids > 0, tf.float32)
        start = tf.random.truncated_normal([len(histories()), INTERESTS, LENGTH])
        params = {ours: in_our_shape(ours, value) for ours, value in made.items()}
        made_interests = network(params, tf.gather(rows, ids), mask, start)
        loss = tf.reduce_mean((made_interests - 0.3) ** 2)
        update = v1.train.AdamOptimizer(0.01).minimize(loss)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for _ in range(STEPS):
                session.run(update)
            v1.train.Saver().save(session, str(prefix))
            values: dict[str, Any] = session.run({"rows": rows, **made})
            return values


def take(
    data: Path, runs: Path, source: Path, said: dict[str, Any] | None = None, **asked: Any
) -> tuple[Imported, Snapshot]:
    values = {"dataset": "small", "name": "t", "batch_size": 16, "test_iter": 4, "top_n": 10}
    values |= {"negatives": 16, "max_steps": 8, **asked.pop("values", {})}
    request = ImportRequest(source, values, data / "small", runs, **asked)

    def say(key: str, **told: object) -> None:
        if said is not None:
            said[key] = told

    imported = import_checkpoint(request, say)
    return imported, store.load(store.scan(imported.folder.checkpoints)[-1])


@pytest.mark.parametrize("model", VARIABLES)
def test_import_of_each_original_gives_tensorflows_vectors(
    small_data: Path, tmp_path: Path, model: str
) -> None:
    values = train_original(model, tmp_path / "tf" / "model.ckpt")
    said: dict[str, Any] = {}
    asked = ASKED.get(model, {})
    imported, snapshot = take(small_data, tmp_path, tmp_path / "tf", said, values=asked)
    assert said["tf_model_found"] == {"model": model}
    assert said["tf_step_stored"] == {"value": STEPS}
    assert "tf_rate_default" in said
    assert "tf_moments_missing" not in said
    assert imported.config.maxlen == LENGTH
    assert imported.drawn == (("routing",) if model == "MIND" else ())
    assert [variable.name for variable in imported.unused] == ["bias_lookup_table"]

    params = {
        name.removeprefix("params."): jnp.asarray(array)
        for name, array in snapshot.arrays.items()
        if name.startswith("params.")
    }
    ids = histories()
    mask = (ids > 0).astype(np.float32)
    mine = get_model(model).interests(params, jnp.asarray(snapshot.arrays["rows"][ids, :DIM]), mask)
    start = np.broadcast_to(
        params.get("routing", np.zeros((INTERESTS, LENGTH), np.float32)),
        (len(ids), INTERESTS, LENGTH),
    )
    theirs = NETWORKS[model](
        {ours: in_our_shape(ours, tf.constant(value)) for ours, value in values.items()},
        tf.gather(values["rows"], ids) * mask[..., None],
        tf.constant(mask),
        tf.constant(start),
    )
    assert np.abs(np.asarray(mine) - theirs).max() < 1e-5


@contextmanager
def saved(prefix: Path, extra: dict[str, list[int]]) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """Yield the variables of a ComiRec-DR, others, and their session, saved on leaving."""
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.get_variable("mid_embedding_var", [ITEMS + 1, DIM])
        weights = v1.get_variable(*VARIABLES["ComiRec-DR"]["bilinear"])
        others = {name: v1.get_variable(name, shape) for name, shape in extra.items()}
        yield [rows, weights], others, session
        v1.train.Saver().save(session, str(prefix))


def square(variables: list[Any]) -> Any:
    return tf.add_n([tf.reduce_sum(variable**2) for variable in variables])


@pytest.mark.parametrize("same", [False, True])
def test_import_asks_for_the_step_of_two_adams(
    small_data: Path, tmp_path: Path, same: bool
) -> None:
    """One trains the model and the other something else, or both the model."""
    source = tmp_path / "tf" / "model.ckpt"
    with saved(source, {"disc/w": [3]}) as (model, others, session):
        of_first = model if same else [others["disc/w"]]
        first = v1.train.AdamOptimizer(0.01).minimize(square(of_first), var_list=of_first)
        second = v1.train.AdamOptimizer(0.001).minimize(square(model), var_list=model)
        session.run(v1.global_variables_initializer())
        for update in (first, second, second):
            session.run(update)
    with pytest.raises(UsageError) as refusal:
        take(small_data, tmp_path, source)
    assert refusal.value.key == ("tf_step_and_moments_unclear" if same else "tf_step_unclear")
    assert str(refusal.value).endswith("mid_embedding_var" if same else "--step N")
    said: dict[str, Any] = {}
    left_out = {} if same else {"ignored": frozenset({"disc/w"})}
    if not same:
        with pytest.raises(UsageError) as refusal:
            take(small_data, tmp_path, source, step=2)
        assert refusal.value.key == "tf_unused_trained"
    imported, snapshot = take(small_data, tmp_path, source, said, step=2, **left_out)
    assert snapshot.progress.step == 2
    assert ("tf_moments_contested" in said) == same
    assert snapshot.arrays["m.bilinear"].any() != same
    assert "tf_step_given" in said
    assert imported.reading.model == "ComiRec-DR"


def test_import_refuses_an_unused_trained_scalar(small_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "tf" / "model.ckpt"
    with saved(source, {"temperature": []}) as (model, others, session):
        trained = [*model, others["temperature"]]
        update = v1.train.AdamOptimizer(0.01).minimize(square(trained), var_list=trained)
        session.run(v1.global_variables_initializer())
        session.run(update)
    with pytest.raises(UsageError, match="unused: temperature"):
        take(small_data, tmp_path, source)


@pytest.mark.parametrize(
    "make",
    [
        lambda: v1.train.RMSPropOptimizer(0.01, momentum=0.9),
        lambda: v1.train.AdagradOptimizer(0.01),
        lambda: v1.train.AdamOptimizer(0.01, name="AdaMax"),
    ],
    ids=["RMSProp", "Adagrad", "AdaMax"],
)
def test_read_names_takes_no_other_optimizers_slots(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    source = tmp_path / "tf" / "model.ckpt"
    with saved(source, {}) as (model, _, session):
        update = make().minimize(square(model), var_list=model)
        session.run(v1.global_variables_initializer())
        session.run(update)
    trained = {"mid_embedding_var", VARIABLES["ComiRec-DR"]["bilinear"][0]}
    check_untaken(open_checkpoint(source), trained)


@pytest.mark.parametrize("name", ["AdamW", "Nadam", "Adamax", "RMSprop", "Lamb", "SGD", "Lion"])
def test_read_graph_takes_no_other_optimizers_moments_or_rate(tmp_path: Path, name: str) -> None:
    """Their state has the shapes of Adam's, and mostly its names."""
    more = {"momentum": 0.9} if name in ("RMSprop", "SGD") else {}
    model = tf.Module()
    model.rows = keras.Variable(np.ones((ITEMS + 1, DIM), np.float32), name="rows")
    optimizer = getattr(keras.optimizers, name)(0.25, **more)
    optimizer.apply_gradients([(tf.ones((ITEMS + 1, DIM)), model.rows)])
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    source = open_checkpoint(Path(checkpoint.save(str(tmp_path / "ckpt"))))
    check_untaken(source, {source.variables[0].name})
    assert source.step == 1
    assert source.learning_rate is None


def check_untaken(source: TfCheckpoint, names: set[str]) -> None:
    trained = {variable.name: variable for variable in source.variables if variable.trained}
    assert trained.keys() == names
    assert all(variable.moments is None for variable in trained.values())
    assert not any(variable.contested for variable in trained.values())


def test_read_graph_of_two_optimizers_tells_no_step(tmp_path: Path) -> None:
    model = tf.Module()
    model.rows = keras.Variable(np.ones((ITEMS + 1, DIM), np.float32), name="rows")
    optimizers = [keras.optimizers.Adam(0.25), keras.optimizers.Adam(0.5)]
    for optimizer, updates in zip(optimizers, (1, 3), strict=True):
        for _ in range(updates):
            optimizer.apply_gradients([(tf.ones((ITEMS + 1, DIM)), model.rows)])
    both = {"first": optimizers[0], "second": optimizers[1]}
    saved_at = tf.train.Checkpoint(model=model, **both).save(str(tmp_path / "ckpt"))
    source = open_checkpoint(Path(saved_at))
    assert (source.step, source.learning_rate, source.several) == (None, None, True)
    (rows,) = (variable for variable in source.variables if variable.trained)
    assert (rows.contested, rows.moments) == (True, None)


def test_import_names_the_v1_format_that_tensorflow_writes(
    small_data: Path, tmp_path: Path
) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("mid_embedding_var", [ITEMS + 1, DIM])
        session.run(v1.global_variables_initializer())
        prefix = tmp_path / "v1" / "model.ckpt"
        prefix.parent.mkdir()
        v1.train.Saver(write_version=v1.train.SaverDef.V1).save(session, str(prefix))
    with pytest.raises(CheckpointError, match="V1 format"):
        take(small_data, tmp_path, prefix)
