"""TensorFlow checkpoints for tests of importing them, trained and written by TensorFlow itself.

Importing this module skips the importing tests where TensorFlow is missing.
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, on importing
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
Layer: Any = keras.layers.Layer
Model: Any = keras.Model
Module: Any = tf.Module

ITEMS, LENGTH, DIM, HIDDEN, INTERESTS = 40, 6, 8, 8, 2
UPDATES = 3
Weights = dict[str, tuple[Any, Any, Any]]  # value, m, v by our parameter's name


class Routing(Layer):  # type: ignore[misc]
    """Dynamic routing with a map per position, as ComiRec's original has it."""

    def build(self, shape: Any) -> None:
        size = (1, LENGTH, INTERESTS * DIM, DIM)
        self.w = self.add_weight(shape=size, initializer="random_normal", name="routing_weights")

    def call(self, history: Any, mask: Any) -> Any:
        return route(self.w, history, mask)


def route(w: Any, history: Any, mask: Any) -> Any:
    votes = tf.reduce_sum(w * tf.expand_dims(history * mask[..., None], 2), 3)
    votes = tf.transpose(tf.reshape(votes, [-1, LENGTH, INTERESTS, DIM]), [0, 2, 1, 3])
    logits = tf.zeros(tf.shape(votes)[:3])
    for _ in range(3):
        coupling = tf.nn.softmax(logits, axis=1) * mask[:, None, :]
        capsules = tf.reduce_sum(coupling[..., None] * votes, 2)
        norm = tf.reduce_sum(capsules**2, -1, keepdims=True)
        capsules *= norm / (1 + norm) / tf.sqrt(norm + 1e-9)
        logits += tf.reduce_sum(votes * capsules[:, :, None, :], 3)
    return capsules


def attend(scores: Any, history: Any, mask: Any) -> Any:
    logits = tf.where(mask[:, None, :] > 0, tf.transpose(scores, [0, 2, 1]), -1e9)
    return tf.matmul(tf.nn.softmax(logits), history * mask[..., None])


class RoutingModel(Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.item_emb = keras.layers.Embedding(ITEMS + 1, DIM)
        self.capsule = Routing()

    def call(self, ids: Any) -> Any:
        return self.capsule(self.item_emb(ids), tf.cast(ids > 0, tf.float32))

    def ours(self) -> dict[str, Any]:
        return {"rows": self.item_emb.embeddings, "bilinear": self.capsule.w}


class AttentionModel(Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.item_emb = keras.layers.Embedding(ITEMS + 1, DIM)
        self.hidden = keras.layers.Dense(4 * HIDDEN, activation="tanh")
        self.score = keras.layers.Dense(INTERESTS)

    def build(self, shape: Any) -> None:
        self.pos = self.add_weight(shape=(1, LENGTH, DIM), name="pos")

    def call(self, ids: Any) -> Any:
        history = self.item_emb(ids)
        scores = self.score(self.hidden(history + self.pos))
        return attend(scores, history, tf.cast(ids > 0, tf.float32))

    def ours(self) -> dict[str, Any]:
        return {
            "rows": self.item_emb.embeddings,
            "position": self.pos,
            "hidden": self.hidden.kernel,
            "hidden_bias": self.hidden.bias,
            "heads": self.score.kernel,
            "heads_bias": self.score.bias,
        }


KERAS: dict[str, Any] = {"ComiRec-DR": RoutingModel, "ComiRec-SA": AttentionModel}


def histories(seed: int = 1) -> Any:
    """Right-padded ids [5, L]."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, ITEMS + 1, (5, LENGTH))
    return np.where(np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (5, 1)), ids, 0).astype(
        np.int32
    )


@dataclass
class Trained:
    """What TensorFlow trained and stored: interests of `histories()`, weights by our names."""

    prefix: Path
    interests: Any
    weights: Weights
    next_weights: dict[str, tuple[Any, Any]]  # gradient and value after one more update


def train_keras(name: str, folder: Path, optimizer: Any = None, **extra: Any) -> Trained:
    """Train a Keras model for a few updates and store it by CheckpointManager."""
    keras.utils.set_random_seed(7)
    model = KERAS[name]()
    optimizer = optimizer or keras.optimizers.Adam(0.007, epsilon=1e-8)
    model(histories())
    variables = model.trainable_variables

    def gradients(seed: int) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(histories(seed)) - 0.3) ** 2)
        return [tf.convert_to_tensor(grad) for grad in tape.gradient(loss, variables)]

    for seed in range(UPDATES):
        optimizer.apply_gradients(zip(gradients(seed), variables, strict=True))
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, **extra)
    prefix = tf.train.CheckpointManager(checkpoint, str(folder), 1).save(checkpoint_number=11)
    interests = model(histories()).numpy()
    place = {id(variable): n for n, variable in enumerate(variables)}
    slots = getattr(optimizer, "_momentums", None)
    weights, after = {}, {}
    more = gradients(UPDATES)
    for ours, variable in model.ours().items():
        n = place[id(variable)]
        if slots:
            m, v = optimizer._momentums[n], optimizer._velocities[n]
        else:
            m, v = (optimizer.get_slot(variable.value, slot) for slot in "mv")
        weights[ours] = (variable.numpy(), m.numpy(), v.numpy())
    optimizer.apply_gradients(zip(more, variables, strict=True))
    for ours, variable in model.ours().items():
        after[ours] = (more[place[id(variable)]].numpy(), variable.numpy())
    return Trained(Path(prefix), interests, weights, after)


TF1_NAMES = {
    "ComiRec-DR": {"rows": "mid_embedding_var", "bilinear": "bilinear/weights"},
    "ComiRec-SA": {
        "rows": "mid_embedding_var",
        "position": "position_embedding",
        "hidden": "self_atten/dense/kernel",
        "hidden_bias": "self_atten/dense/bias",
        "heads": "self_atten/dense_1/kernel",
        "heads_bias": "self_atten/dense_1/bias",
    },
}
TF1_SHAPES = {
    "rows": [ITEMS + 1, DIM],
    "bilinear": [1, LENGTH, INTERESTS * DIM, DIM],
    "position": [1, LENGTH, DIM],
    "hidden": [DIM, 4 * HIDDEN],
    "hidden_bias": [4 * HIDDEN],
    "heads": [4 * HIDDEN, INTERESTS],
    "heads_bias": [INTERESTS],
}


def train_tf1(
    name: str, folder: Path, scope: str | None = None, items: int = ITEMS, length: int = LENGTH
) -> Trained:
    """Train a graph with the original's variables and store it by Saver; the interests are there
    for the default length.
    """
    shapes = TF1_SHAPES | {"rows": [items + 1, DIM], "position": [1, length, DIM]}
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.variable_scope(scope or v1.get_variable_scope()):
        v1.set_random_seed(7)
        made = {
            ours: v1.get_variable(theirs, shapes[ours]) for ours, theirs in TF1_NAMES[name].items()
        }
        v1.get_variable("bias_lookup_table", [items + 1], trainable=False)
        ids = tf.constant(np.pad(histories(), ((0, 0), (0, length - LENGTH))))
        mask = tf.cast(ids > 0, tf.float32)
        history = tf.gather(made["rows"], ids)
        if name == "ComiRec-DR":
            interests = route(made["bilinear"], history, mask)
        else:
            hidden = tf.tanh((history + made["position"]) @ made["hidden"] + made["hidden_bias"])
            interests = attend(hidden @ made["heads"] + made["heads_bias"], history, mask)
        optimizer = v1.train.AdamOptimizer(0.01)
        update = optimizer.minimize(tf.reduce_mean((interests - 0.3) ** 2))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for _ in range(UPDATES):
                session.run(update)
            prefix = v1.train.Saver().save(session, f"{folder}/model.ckpt")
            weights = {
                ours: session.run(
                    (variable, optimizer.get_slot(variable, "m"), optimizer.get_slot(variable, "v"))
                )
                for ours, variable in made.items()
            }
            return Trained(Path(prefix), session.run(interests), weights, {})


class LegacyOptimizer(Module):  # type: ignore[misc]
    """What Keras 2.11 to 2.15 records of its Adam: lists and names, but no order."""

    def __init__(self, variables: dict[str, Any], duplicate: bool = False) -> None:
        super().__init__()
        self._iterations = tf.Variable(5, dtype=tf.int64, name="iteration")
        self._momentums, self._velocities = [], []
        for name, value in reversed(variables.items()):
            named = "same" if duplicate else name
            self._momentums.append(tf.Variable(value * 2, name=f"Adam/m/{named}"))
            self._velocities.append(tf.Variable(value**2, name=f"Adam/v/{named}"))
        self._variables = [self._iterations, *self._momentums, *self._velocities]


def attention_module() -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(0)
    values = {
        f"net/{name}": rng.normal(size=TF1_SHAPES[name]).astype(np.float32)
        for name in TF1_NAMES["ComiRec-SA"]
    }
    module = tf.Module()
    for name, value in values.items():
        setattr(module, name.replace("/", "_"), tf.Variable(value, name=name))
    return module, values
