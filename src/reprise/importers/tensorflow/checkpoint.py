"""Read TensorFlow checkpoints: model variables with their Adam moments, and scalars.

There are two kinds: with an object graph (`tf.train.Checkpoint`, TF2 and Keras), which links
moments to variables, or with names only (`tf.train.Saver`, TF1).
"""

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.errors import CheckpointError, UsageError
from reprise.importers.tensorflow import object_graph
from reprise.importers.tensorflow.object_graph import Scalars, Stored, Variable

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_LAST_NORMAL = np.finfo(np.float32).smallest_normal


@dataclass(frozen=True)
class TfCheckpoint:
    """A checkpoint's content; `read` loads an array by key as float32.

    Attributes:
        path: The prefix of its files.
        variables: The model's floating-point variables.
        step, learning_rate, best_metric: None if missing or ambiguous.
        read: Loads an array.
    """

    path: Path
    variables: tuple[Variable, ...]
    step: int | None
    learning_rate: float | None
    best_metric: float | None
    read: Callable[[str], NDArray[np.float32]]


def open_checkpoint(path: Path) -> TfCheckpoint:
    """Open the checkpoint that `path` names (see `find_prefix`).

    Raises:
        UsageError: TensorFlow is not installed.
        CheckpointError: There is no intact checkpoint.
    """
    prefix = find_prefix(path)
    tensorflow = _tensorflow()
    with _damage_named(prefix):
        reader = tensorflow.train.load_checkpoint(str(prefix))
        dtypes = reader.get_variable_to_dtype_map()
        stored = {
            key: Stored(tuple(shape), bool(dtypes[key].is_floating))
            for key, shape in reader.get_variable_to_shape_map().items()
        }
        if _GRAPH_KEY in stored:
            graph = object_graph.parse_graph(reader.get_tensor(_GRAPH_KEY))
            variables, scalars = object_graph.read_graph(graph, stored)
        else:
            variables, scalars = read_names(stored)

    def read(key: str) -> NDArray[np.float32]:
        with _damage_named(prefix):
            return np.asarray(reader.get_tensor(key)).astype(np.float32)

    def scalar(key: str | None) -> Any:
        if key is None:
            return None
        with _damage_named(prefix):
            return reader.get_tensor(key).item()

    updates = scalar(scalars.iterations)
    if not updates and scalars.beta2_power is not None:
        updates = updates_of(np.float32(scalar(scalars.beta2_power)))
    return TfCheckpoint(
        path=prefix,
        variables=variables,
        step=int(updates) if updates is not None and updates > 0 else None,
        learning_rate=_positive(scalar(scalars.learning_rate)),
        best_metric=_recall(scalar(scalars.best_metric)),
        read=read,
    )


def find_prefix(path: Path) -> Path:
    """Return the checkpoint's prefix: `path` itself, the prefix of a file, or a folder's latest
    checkpoint by TensorFlow's `checkpoint` file, or its only one if that file is missing.
    """
    if path.is_dir():
        found = sorted(file.with_suffix("") for file in path.glob("*.index"))
        latest = _latest_name(path / "checkpoint")
        # By name, not by path: the folder may have been moved since.
        chosen = [prefix for prefix in found if prefix.name == latest] or found
        if len(chosen) > 1:
            names = ", ".join(prefix.name for prefix in chosen)
            raise UsageError("tf_several", path=path, names=names)
        if chosen:
            return chosen[0]
    else:
        prefix = path.with_name(re.sub(r"\.(index|data-\d+-of-\d+)$", "", path.name))
        if prefix.with_name(f"{prefix.name}.index").is_file():
            return prefix
    raise CheckpointError("tf_missing_checkpoint", path=path)


def read_names(stored: Mapping[str, Stored]) -> tuple[tuple[Variable, ...], Scalars]:
    """Separate a TF1 checkpoint's variables from Adam's slots, X/Adam and X/Adam_1, which may be
    under another scope.
    """
    names = set(stored)

    def owner(key: str) -> str | None:
        """Return the variable whose slot `key` is."""
        parts = key.split("/")[:-1]
        scopes = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((name for name in scopes if name in names), None)

    moments: dict[str, tuple[str, str]] = {}
    for key in stored:
        variable, second = owner(key), f"{key}_1"
        if (
            variable is not None
            and "adam" in key.rpartition("/")[2].casefold()
            and second in stored
            and stored[key].shape == stored[second].shape == stored[variable].shape
        ):
            moments[variable] = key, second
    variables = tuple(
        Variable(key, key, entry.shape, frozenset({key}), moments.get(key))
        for key, entry in sorted(stored.items())
        if entry.floating and entry.shape and owner(key) is None
    )
    powers = [key for key in stored if key.rpartition("/")[2] == "beta2_power"]
    return variables, Scalars(beta2_power=powers[0] if len(powers) == 1 else None)


def updates_of(beta2_power: np.float32) -> int | None:
    """Return the number of updates after which TF1's Adam has this power of its beta2, 0.999.

    The power starts at 0.999 and is multiplied once per update, rounded to float32: this repeats
    the multiplication until the value matches. None if it never does, because of another beta2, or
    after about 87,000 updates, when float32 underflows.
    """
    beta2 = power = np.float32(0.999)
    updates = 0
    while power > beta2_power and power > _LAST_NORMAL:
        power, updates = power * beta2, updates + 1
    return updates if power == beta2_power and power > _LAST_NORMAL else None


def _latest_name(record: Path) -> str | None:
    try:
        text = record.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    match = re.search(r'^model_checkpoint_path: "(.*)"', text, re.MULTILINE)
    return None if match is None else Path(match[1]).name


def _tensorflow() -> Any:
    """Import TensorFlow without its start messages, which native code writes to descriptor 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings(), _silence():
        warnings.simplefilter("ignore")
        try:
            import tensorflow
        except ImportError as error:
            reason = str(error).partition("\n")[0]
            raise UsageError("tf_not_installed", reason=reason) from error
    return tensorflow


@contextmanager
def _silence() -> Iterator[None]:
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _damage_named(prefix: Path) -> Iterator[None]:
    """Turn errors of TensorFlow and protobuf about a damaged file into CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # their classes are many, and not all public
        reason = (str(error) or repr(error)).partition("\n")[0]
        raise CheckpointError("tf_damaged", path=prefix, reason=reason) from error


def _positive(value: float | None) -> float | None:
    """Return a stored float32 as the shortest decimal number; None unless positive and finite."""
    if value is None or not np.isfinite(value) or value <= 0:
        return None
    return float(str(np.float32(value)))


def _recall(value: float | None) -> float | None:
    """Return a stored best metric; None for 0, the initial value of code that never sets it."""
    rate = _positive(value)
    return rate if rate is not None and rate <= 1 else None
