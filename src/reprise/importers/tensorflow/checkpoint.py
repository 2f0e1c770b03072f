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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reprise.errors import CheckpointError, UsageError
from reprise.importers.tensorflow import object_graph
from reprise.importers.tensorflow.locating import find_prefix
from reprise.importers.tensorflow.object_graph import Scalars, Stored, Variable, is_adam

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_AVERAGE = "ExponentialMovingAverage"  # a variable's average is no optimizer's state
_LAST_NORMAL = np.finfo(np.float32).smallest_normal


@dataclass(frozen=True)
class TfCheckpoint:
    """A checkpoint's content; `read` loads an array by key as float32.

    Attributes:
        path: The prefix of its files.
        variables: The model's floating-point variables.
        step, learning_rate, best_metric: None if missing or ambiguous.
        several: Whether it holds the state of several optimizers.
        read: Loads an array.
    """

    path: Path
    variables: tuple[Variable, ...]
    step: int | None
    learning_rate: float | None
    best_metric: float | None
    several: bool
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
        several=scalars.several,
        read=read,
    )


class _Slot(NamedTuple):
    """A value that an optimizer keeps for a variable; number: the how manyth of its kind."""

    key: str
    optimizer: str
    number: int


def read_names(stored: Mapping[str, Stored]) -> tuple[tuple[Variable, ...], Scalars]:
    """Separate a TF1 checkpoint's variables from their optimizers' slots: X/Adam and X/Adam_1, X
    perhaps without its outer scopes, or Adam/X/m and Adam/X/v.
    """
    slots: dict[str, list[_Slot]] = {}
    averages = set()
    for key in stored:
        owner = _owner(key, stored)
        if owner is not None and _last(key) == _AVERAGE:
            averages.add(key)
        elif owner is not None:
            slots.setdefault(owner, []).append(_slot(key, owner))
    owned = averages | {slot.key for kept in slots.values() for slot in kept}
    variables = tuple(
        _with_slots(key, entry.shape, slots.get(key, []))
        for key, entry in sorted(stored.items())
        if entry.floating and (entry.shape or key in slots) and key not in owned
    )
    powers = [key for key in stored if re.fullmatch(r"beta2_power(_\d+)?", _last(key))]
    optimizers = {slot.optimizer for kept in slots.values() for slot in kept}
    several = len(powers) > 1 or len(optimizers) > 1 or any(v.contested for v in variables)
    one = powers[0] if len(powers) == 1 and not several else None
    return variables, Scalars(beta2_power=one, several=several)


def _owner(key: str, stored: Mapping[str, Stored]) -> str | None:
    """Return the variable whose slot `key` is: named as its folder, and of its shape."""
    parts = key.split("/")[:-1]
    scopes = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((s for s in scopes if s in stored and stored[s].shape == stored[key].shape), None)


def _slot(key: str, owner: str) -> _Slot:
    last = _last(key)
    scope = key.removesuffix(f"{owner}/{last}").rstrip("/")
    if scope and last in "mv":  # as Keras names them
        return _Slot(key, scope, "mv".index(last))
    name, number = re.fullmatch(r"(.*?)(?:_(\d+))?", last).groups()  # type: ignore[union-attr]
    return _Slot(key, name, int(number or 0))


def _with_slots(name: str, shape: tuple[int, ...], slots: list[_Slot]) -> Variable:
    """Return a variable with its slots; Adam's moments only where no other optimizer has any."""
    optimizers = {slot.optimizer for slot in slots}
    of_adam = any(is_adam(optimizer) for optimizer in optimizers)
    contested = len(optimizers) > 1 or (of_adam and len(slots) > 2)
    keys = [slot.key for slot in sorted(slots, key=lambda slot: slot.number)]
    pair = (keys[0], keys[1]) if of_adam and len(keys) == 2 and not contested else None
    return Variable(name, name, shape, frozenset({name}), pair, bool(slots), contested)


def _last(key: str) -> str:
    return key.rpartition("/")[2]


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
