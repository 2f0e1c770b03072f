"""GRU4REC, against PyTorch's cell if it is installed, and initial parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from helpers.builders_models import (
    USERS,
    check_glorot,
    compiled,
    random_histories,
    random_params,
    scales,
    seeds,
    shapes_of,
)
from helpers.effort import examples
from reprise.models import recurrent
from reprise.models.registry import ModelShape

relaxed = examples(25)
DIM = 4
SHAPES = shapes_of("GRU4REC")

interests = compiled("GRU4REC")


@jax.jit
def gradient_by_history(params: Any, history: Any, mask: Any, direction: Any) -> Any:
    def along(history: Any) -> jax.Array:
        return jnp.sum(direction * recurrent.interests(params, history, mask)[:, 0])

    return jax.grad(along)(history)


@pytest.mark.parametrize("agreement", ["diagonal candidate", "one reset gate for all"])
@relaxed
@given(seed=seeds, scale=scales)
def test_gru_equals_pytorchs_where_the_cells_agree(agreement: str, seed: int, scale: float) -> None:
    """PyTorch resets after the candidate's product with the state, TensorFlow before: the same
    where that product is diagonal, the gates' being full, and where the reset gate is one number
    for the whole state, all kernels being full. As functions of the history the two are then
    equal, so its gradient must be, too.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(seed)
    params = random_params(rng, SHAPES)
    if agreement == "diagonal candidate":
        params["candidate"][DIM:] *= np.eye(DIM, dtype=np.float32)
    else:
        params["gates"][:, :DIM] = params["gates"][:, :1]
        params["gates_bias"][:DIM] = params["gates_bias"][:1]
    history, lengths, mask = random_histories(rng, scale, DIM)
    direction = rng.normal(size=(USERS, DIM)).astype(np.float32)
    # PyTorch stacks reset, update and candidate, each [out, in], with a bias to either product.
    kernels = np.concatenate([params["gates"], params["candidate"]], axis=1).T
    biases = np.concatenate([params["gates_bias"], params["candidate_bias"]])
    gru = torch.nn.GRU(DIM, DIM, batch_first=True)
    stored = {
        "weight_ih_l0": kernels[:, :DIM],
        "weight_hh_l0": kernels[:, DIM:],
        "bias_ih_l0": biases,
        "bias_hh_l0": np.zeros_like(biases),
    }
    gru.load_state_dict({name: torch.tensor(value) for name, value in stored.items()})
    items = torch.tensor(history, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        items, torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    final = gru(packed)[1][0]
    (final * torch.tensor(direction)).sum().backward()

    computed = np.asarray(interests(params, history, mask))
    np.testing.assert_allclose(computed[:, 0], final.detach().numpy(), rtol=1e-4, atol=1e-5)
    gradient = gradient_by_history(params, history, mask, direction)
    np.testing.assert_allclose(gradient, items.grad.numpy(), rtol=1e-3, atol=1e-4)


def test_gru_depends_on_the_order_of_the_history() -> None:
    rng = np.random.default_rng(2)
    params = random_params(rng, SHAPES)
    history, _, mask = random_histories(rng, 1.0, DIM)
    mask[:] = 1
    turned = interests(params, history[:, ::-1].copy(), mask)
    assert np.abs(np.asarray(interests(params, history, mask) - turned)).max() > 1e-2


def test_gru_init_has_tensorflows_defaults() -> None:
    shape = ModelShape(history_length=5, embedding_dim=40, hidden_size=40, num_interest=3)
    params = {k: np.asarray(v) for k, v in recurrent.init(jax.random.key(3), shape).items()}
    sizes = {"gates": (80, 80), "candidate": (80, 40)}
    assert params.keys() == sizes.keys() | {"gates_bias", "candidate_bias"}
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    for name, size in sizes.items():
        check_glorot(params[name], size, rel=0.05)
    np.testing.assert_array_equal(params["gates_bias"], np.ones(80))
    np.testing.assert_array_equal(params["candidate_bias"], np.zeros(40))
