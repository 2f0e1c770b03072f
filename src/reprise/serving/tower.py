"""The user tower as an ONNX model: item numbers of a history in, interests out.

Inputs: history [batch, L] int32, item numbers, oldest first, right-padded with 0; lengths [batch]
int32. Output: interests [batch, K, d] float32, for inner products with the exported item vectors;
zero for a history without items. The tower of a model with a time bias has one more input, times
[batch, L + 1] int32, as `data.moments` has them: of the items, then of the request.

The network is converted without its item table, which is then put in as a constant: tracing holds
no copy of it, and a table that a file of protobuf cannot hold lies beside it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprise.data.moments import UNKNOWN, at_requests
from reprise.errors import CheckpointError, UsageError
from reprise.retrieval.vectors import CHUNK, interests_of_vectors
from reprise.runs.stored import StoredModel

FILE, TABLE_FILE = "interests.onnx", "interests.onnx.data"
TOLERANCE = 1e-5
# Protobuf's limit is 2 GiB for all; the parameters are in it, too.
LARGEST_TABLE = 2**31 - 2**26
_HISTORIES = 4 * CHUNK  # to check with
_BATCHES = (1, 2, 5, CHUNK - 8)  # sizes of the first batches, of the others CHUNK
_INPUTS, _TIMES, _OUTPUT = ("items", "history", "lengths"), "times", "interests"


@dataclass(frozen=True)
class Check:
    """How far the ONNX model's interests are from JAX's: the largest difference over random
    histories, relative to the largest number where that is above 1, and what was allowed.
    """

    histories: int
    difference: float
    tolerance: float


def require() -> None:
    """Raise UsageError with the extra to install if a library is missing."""
    try:
        import jax2onnx  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        values = {"what": "reprise export --onnx", "extra": "export", "reason": error}
        raise UsageError("extra_missing", **values) from error


def write(
    stored: StoredModel,
    folder: Path,
    tolerance: float = TOLERANCE,
    largest_table: int = LARGEST_TABLE,
) -> dict[str, Any]:
    """Write the user tower into `folder`, and compare it with JAX; return the manifest's part on
    it.

    Args:
        stored: The model.
        folder: Where FILE is written and, for a table of more than `largest_table` bytes,
            TABLE_FILE.
        tolerance: The largest difference that passes.
        largest_table: See `folder`.

    Raises:
        CheckpointError: The network cannot be converted, or the result differs from JAX.
    """
    table = np.ascontiguousarray(stored.retriever.history_vectors())
    model = _converted(stored, table.shape)
    _put_in(model, table, folder, largest_table)
    (folder / FILE).write_bytes(model.SerializeToString())
    check = _check(stored, folder / FILE, tolerance)
    return {
        "file": FILE,
        "external_data": TABLE_FILE if (folder / TABLE_FILE).exists() else None,
        "opset": next(one.version for one in model.opset_import if one.domain == ""),
        "inputs": {name: _described(of) for of in model.graph.input for name in [of.name]},
        "outputs": {name: _described(of) for of in model.graph.output for name in [of.name]},
        "check": {
            "histories": check.histories,
            "largest_difference": check.difference,
            "tolerance": check.tolerance,
        },
        "versions": {name: version(name) for name in ("jax2onnx", "onnx", "onnxruntime")},
    }


def _converted(stored: StoredModel, table: tuple[int, ...]) -> Any:
    """Return the network as an ONNX model whose first input is the item table."""
    import jax
    import jax.numpy as jnp
    from jax2onnx import to_onnx

    retriever, length = stored.retriever, stored.config.maxlen

    def tower(items: Any, history: Any, lengths: Any, times: Any = None) -> Any:
        own = (retriever.model, retriever.scoring, retriever.params)
        made = interests_of_vectors(*own, items[history], lengths, times)
        return jnp.where(lengths[:, None, None] > 0, made, 0)

    shaped: Any = jax.ShapeDtypeStruct
    inputs = [
        shaped(table, jnp.float32),
        shaped(("batch", length), jnp.int32),
        shaped(("batch",), jnp.int32),
        *([shaped(("batch", length + 1), jnp.int32)] if retriever.reads_times else []),
    ]
    names = [*_INPUTS, *([_TIMES] if retriever.reads_times else [])]
    named = {"input_names": names, "output_names": [_OUTPUT]}
    try:
        with _quiet("onnx_ir"):
            return to_onnx(tower, inputs, model_name="interests", **named)
    except Exception as error:  # whatever a converter does not know
        name, reason = stored.config.model, f"{type(error).__name__}: {error}"
        raise CheckpointError("onnx_not_converted", model=name, reason=reason) from error


def _put_in(model: Any, table: NDArray[np.float32], folder: Path, largest: int) -> None:
    """Make the item table a constant of the model, in a file of its own if it is too large."""
    from onnx import TensorProto

    (place,) = (n for n, one in enumerate(model.graph.input) if one.name == _INPUTS[0])
    del model.graph.input[place]
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type = _INPUTS[0], TensorProto.FLOAT
    tensor.dims.extend(table.shape)
    if table.nbytes <= largest:
        tensor.raw_data = table.astype("<f4", copy=False).tobytes()
        return
    with open(folder / TABLE_FILE, "wb") as file:
        file.write(table.astype("<f4", copy=False).data)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", TABLE_FILE), ("offset", 0), ("length", table.nbytes)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def _check(stored: StoredModel, path: Path, tolerance: float) -> Check:
    """Compare the interests of random histories with JAX's, in batches of several sizes."""
    history, lengths = random_histories(stored.num_items, stored.config.maxlen, _HISTORIES)
    times = random_times(lengths, history.shape[1]) if stored.retriever.reads_times else None
    session = session_of(path)
    worst, largest = 0.0, 1.0
    for expected, found in zip(
        _by_jax(stored, history, lengths, times),
        _by_onnx(session, history, lengths, times),
        strict=True,
    ):
        if not np.isfinite(expected).all():
            raise CheckpointError("export_not_finite", checkpoint=stored.checkpoint.path)
        worst = max(worst, float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max()))
        largest = max(largest, float(np.abs(expected).max()))
    check = Check(len(history), worst / largest, tolerance)
    if not check.difference <= tolerance:
        values = {"difference": f"{check.difference:.1e}", "tolerance": f"{tolerance:.0e}"}
        raise CheckpointError("onnx_differs", model=stored.config.model, **values)
    return check


def _by_jax(
    stored: StoredModel,
    history: NDArray[np.int32],
    lengths: NDArray[np.int32],
    times: NDArray[np.int32] | None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the interests of each user, as retrieval computes them."""
    for start in range(0, len(history), CHUNK):
        some = lengths[start:][:CHUNK]
        own = None if times is None else times[start:][:CHUNK]
        made = stored.retriever.interests(history[start:][:CHUNK], some, own)
        yield from np.where(some[:, None, None] > 0, made, np.float32(0))


def _by_onnx(
    session: Any,
    history: NDArray[np.int32],
    lengths: NDArray[np.int32],
    times: NDArray[np.int32] | None,
) -> Iterator[NDArray[np.float32]]:
    sizes, start = iter(_BATCHES), 0
    while start < len(history):
        end = start + next(sizes, CHUNK)
        fed = {"history": history[start:end], "lengths": lengths[start:end]}
        fed |= {} if times is None else {_TIMES: times[start:end]}
        yield from session.run([_OUTPUT], fed)[0]
        start = end


def session_of(path: Path) -> Any:
    """Return onnxruntime's session of an exported tower, without its hints on the graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def random_histories(
    num_items: int, length: int, count: int, seed: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return histories [count, length], right-padded with 0, and lengths [count]: in turns full,
    of any length, short, of few items repeated, and empty.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    lengths = rng.integers(1, length + 1, count)
    kind = np.arange(count) % 5
    lengths = np.select(
        [kind == 0, kind == 2, kind == 4], [length, np.minimum(lengths, 3), 0], lengths
    )
    items = rng.integers(1, num_items + 1, (count, length))
    repeated = np.take_along_axis(items, rng.integers(0, min(3, length), items.shape), 1)
    items = np.where((kind == 3)[:, None], repeated, items)
    real = np.arange(length) < lengths[:, None]
    return np.where(real, items, 0).astype(np.int32), lengths.astype(np.int32)


def random_times(lengths: NDArray[np.int32], length: int, seed: int = 0) -> NDArray[np.int32]:
    """Return times [count, length + 1] of histories of `lengths` and requests, with gaps of
    seconds to years; in turns of all, not of the request, and of nothing.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, len(lengths)]))
    gaps = np.exp(rng.uniform(0, 18, (len(lengths), length + 1))) - 1
    seconds = (rng.uniform(0, 2e9, (len(lengths), 1)) + np.cumsum(gaps, axis=1)).astype(np.int64)
    items, asked = seconds[:, :-1], seconds[:, -1]
    times, kind = at_requests(items, lengths, asked), np.arange(len(lengths)) % 3
    times[kind == 1] = at_requests(items, lengths, None)[kind == 1]
    times[kind == 2] = UNKNOWN
    return times


def _described(value: Any) -> dict[str, Any]:
    """Return type and shape of a graph's input or output."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    shape = [size.dim_param or size.dim_value for size in tensor.shape.dim]
    return {"type": TensorProto.DataType.Name(tensor.elem_type).lower(), "shape": shape}


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library's warnings to its own developers from the user."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
