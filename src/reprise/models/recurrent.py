"""GRU4REC: one interest, the final state of a gated recurrent unit over the history.

Source: GRU4Rec (arXiv 1511.06939), as ComiRec's published code (Model_GRU4REC) runs it with
TensorFlow 1's GRUCell, whose parameters' layout this keeps. PyTorch's nn.GRU differs: there the
reset gate acts after the candidate's matrix product.
"""

import jax
import jax.numpy as jnp
from jax import Array

from reprise.models.registry import ModelShape, Params


def init(key: Array, shape: ModelShape) -> Params:
    """Initialise the cell: kernels Glorot uniform, the gates' bias one, the candidate's zero.

    "gates" [d + h, 2h] and "gates_bias" [2h] (reset | update), "candidate" [d + h, h] and
    "candidate_bias" [h]; a kernel's first rows are for the item, the others for the state. All
    float32. Raise UsageError if the hidden size h is not d.
    """
    shape.require_equal_sizes()
    hidden = shape.hidden_size
    joined = shape.embedding_dim + hidden
    gates_key, candidate_key = jax.random.split(key)
    glorot = jax.nn.initializers.glorot_uniform()
    return {
        "gates": glorot(gates_key, (joined, 2 * hidden), jnp.float32),
        "gates_bias": jnp.ones(2 * hidden, jnp.float32),
        "candidate": glorot(candidate_key, (joined, hidden), jnp.float32),
        "candidate_bias": jnp.zeros(hidden, jnp.float32),
    }


def interests(params: Params, history: Array, mask: Array, key: Array | None = None) -> Array:
    """Return interests [B, 1, d] of right-padded histories [B, L, d] with mask [B, L] (1 = item).

    The state starts at zero; padding leaves it unchanged.
    """

    def advance(state: Array, position: tuple[Array, Array]) -> tuple[Array, None]:
        item, real = position
        return jnp.where(real[:, None] > 0, _cell(params, item, state), state), None

    start = jnp.zeros((history.shape[0], params["candidate_bias"].shape[0]), history.dtype)
    final, _ = jax.lax.scan(advance, start, (jnp.swapaxes(history, 0, 1), mask.T))
    return final[:, None]


def _cell(params: Params, item: Array, state: Array) -> Array:
    """Return the next state [B, h] from item [B, d] and state [B, h]."""
    joined = jnp.concatenate([item, state], axis=1)
    gates = jax.nn.sigmoid(joined @ params["gates"] + params["gates_bias"])
    reset, update = jnp.split(gates, 2, axis=1)
    joined = jnp.concatenate([item, reset * state], axis=1)
    candidate = jnp.tanh(joined @ params["candidate"] + params["candidate_bias"])
    return update * state + (1 - update) * candidate
