"""Train the original's models in TensorFlow: python benchmarks/tensorflow_reference.py DATASET

The original's program for more seeds than it was run with: its networks, its readout, TensorFlow's
own sampled softmax over V + 1 classes (padding among them), TensorFlow 1's dense AdamOptimizer,
users and target positions from Python's `random`. Only the start (Glorot uniform as TensorFlow
makes it) and the evaluation, best on valid, are Reprise's. DATASET is a prepared folder; settings
come from the shipped configurations. The results can be set beside Reprise's:

    python benchmarks/tensorflow_reference.py quality/data/ml-1m --models ComiRec-SA --json tf.json
    python benchmarks/quality.py --from faithful.json tf.json
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from common import machine, make_parser, print_facts, print_table, write_json
from quality_table import ROOT, SELECTED, Result, row, summarise
from reprise.config.load import make_config, read_toml
from reprise.config.schema import TrainConfig
from reprise.data.dataset import Dataset, open_dataset
from reprise.data.sequences import EvaluationUsers
from reprise.evaluation.evaluate import evaluate
from reprise.retrieval.vectors import retriever_of
from reprise.training.setup import Task, fresh_state, make_task
from reprise.training.state import Arrays
from reprise.training.targets import COMIREC

sys.path.append(str(ROOT / "tests"))  # the networks that the tests hold the models against

from helpers.builders_tf import tf
from helpers.networks_tf import NETWORKS, readout

VARIANT = "in TensorFlow"
Ids = NDArray[np.int32]


class Best(NamedTuple):
    """The best evaluation on valid so far: its step, and its metrics on both splits."""

    step: int
    valid: dict[str, float]
    test: dict[str, float]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--models", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[19, 20, 21])
    parser.add_argument("--steps", type=int, help="In place of the config's.")
    options = parser.parse_args()
    facts = machine() | {"tensorflow": tf.__version__}
    print_facts(facts)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    dataset = open_dataset(options.dataset)
    results = []
    for model in options.models:
        for seed in options.seeds:
            values = read_toml(Path(dataset.name, model))
            values |= {"name": "reference", "seed": seed}
            values |= {} if options.steps is None else {"max_steps": options.steps}
            results.append(train(make_config(values), dataset))
    rows = [row(one) for one in summarise(results)]
    print_table(rows)
    write_json(options.json, {**facts, "runs": [asdict(result) for result in results]}, rows)


def train(config: TrainConfig, dataset: Dataset) -> Result:
    """Train a model in TensorFlow and return its best model's metrics."""
    task = make_task(config, dataset)
    start = fresh_state(task).arrays
    table, params = _variables(start, config.seed)
    step = _make_step(config, table, params)
    users = _sequences(dataset)
    rng, started = random.Random(config.seed), time.monotonic()
    best = Best(0, {SELECTED: -1.0}, {})
    for number in range(1, config.max_steps + 1):
        step(*_batch(rng, users, config))
        if number % config.test_iter == 0:
            arrays = _arrays(start, table, params)
            valid = _measure(task, arrays, task.valid)
            if valid[SELECTED] > best.valid[SELECTED]:
                best = Best(number, valid, _measure(task, arrays, task.test))
            print(f"{config.model} seed {config.seed} step {number}: {valid[SELECTED]:.4f}")
            sys.stdout.flush()
            if number - best.step > config.patience * config.test_iter:
                break
    return Result(
        dataset=dataset.name,
        model=config.model,
        variant=VARIANT,
        seed=config.seed,
        valid=best.valid,
        test=best.test,
        best_step=best.step,
        steps=number,
        seconds=round(time.monotonic() - started, 1),
    )


def _variables(start: Arrays, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return the item table [V+1, d], its padding row as random as the others, and the parameters
    as TensorFlow's variables.
    """
    values = np.array(start.rows[:, : start.rows.shape[1] // 3])
    limit = np.abs(values).max()
    values[0] = np.random.default_rng(seed).uniform(-limit, limit, values.shape[1])
    return tf.Variable(values), {k: tf.Variable(np.array(v)) for k, v in start.params.items()}


def _arrays(start: Arrays, table: Any, params: dict[str, Any]) -> Arrays:
    """Return the variables' values in the form that `evaluate` takes."""
    dim = table.shape[1]
    rows = np.pad(table.numpy(), ((0, 0), (0, 2 * dim)))
    rows[0] = 0
    return start._replace(
        rows=jnp.asarray(rows), params={k: jnp.asarray(v.numpy()) for k, v in params.items()}
    )


def _make_step(config: TrainConfig, table: Any, params: dict[str, Any]) -> Callable[..., None]:
    """Return step(history [B, L], mask [B, L], target [B]): one update of all variables."""
    optimizer = tf.compat.v1.train.AdamOptimizer(config.learning_rate)
    network = gru_cells if config.model == "GRU4REC" else NETWORKS[config.model]
    classes = table.shape[0]
    size = (config.batch_size, config.num_interest, config.maxlen)

    def step(history: Any, mask: Any, target: Any) -> None:
        with tf.GradientTape() as tape:
            items = tf.nn.embedding_lookup(table, history) * mask[..., None]
            noise = tf.random.truncated_normal(size)  # MIND's first routing logits
            interests = network(params, items, mask, noise)
            user = readout(interests, tf.nn.embedding_lookup(table, target))
            losses = tf.nn.sampled_softmax_loss(
                weights=table,
                biases=tf.zeros([classes]),
                labels=tf.cast(target[:, None], tf.int64),
                inputs=user,
                num_sampled=config.num_negatives,
                num_classes=classes,
            )
            loss = tf.reduce_mean(losses)
        trained = [table, *(v for name, v in params.items() if name != "routing")]
        optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))

    compiled = tf.function(step)

    def run(history: Ids, mask: NDArray[np.float32], target: Ids) -> None:
        compiled(tf.constant(history), tf.constant(mask), tf.constant(target))

    return run


def gru_cells(params: Any, history: Any, mask: Any, start: Any) -> Any:
    """TensorFlow 1's GRUCell, position by position: Keras's layer, which the tests hold the model
    against, cannot be given parameters inside a compiled function.
    """
    state = tf.zeros_like(history[:, 0])
    for place in range(history.shape[1]):
        item, real = history[:, place], mask[:, place, None]
        joined = tf.concat([item, state], axis=1)
        gates = tf.sigmoid(tf.matmul(joined, params["gates"]) + params["gates_bias"])
        reset, update = tf.split(gates, 2, axis=1)
        joined = tf.concat([item, reset * state], axis=1)
        candidate = tf.tanh(tf.matmul(joined, params["candidate"]) + params["candidate_bias"])
        state = tf.where(real > 0, update * state + (1 - update) * candidate, state)
    return state[:, None]


def _batch(
    rng: random.Random, users: list[list[int]], config: TrainConfig
) -> tuple[Ids, NDArray[np.float32], Ids]:
    """Return history, mask and targets as the original's iterator draws them."""
    history = np.zeros((config.batch_size, config.maxlen), np.int32)
    mask = np.zeros(history.shape, np.float32)
    target = np.zeros(config.batch_size, np.int32)
    for place, items in enumerate(rng.sample(users, config.batch_size)):
        position = rng.choice(range(COMIREC.first, len(items)))
        known = items[max(0, position - config.maxlen) : position]
        history[place, : len(known)], mask[place, : len(known)] = known, 1
        target[place] = items[position]
    return history, mask, target


def _sequences(dataset: Dataset) -> list[list[int]]:
    """Return the items of each training user who has enough of them."""
    split = dataset.splits["train"]
    items = [split.items[start:stop].tolist() for start, stop in pairwise(split.offsets)]
    return [one for one in items if len(one) > COMIREC.first]


def _measure(task: Task, arrays: Arrays, users: EvaluationUsers) -> dict[str, float]:
    retriever = retriever_of(task.model, task.config.scoring, arrays)
    return evaluate(retriever, users, task.config.cutoffs).metrics


if __name__ == "__main__":
    main()
