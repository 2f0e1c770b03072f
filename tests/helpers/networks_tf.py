"""The five networks and the loss as TensorFlow programs, from the papers' equations and in the
original's order of operations: batched, in float32, with TensorFlow's own layers and gradients.

Importing this module skips the importing tests where TensorFlow is missing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from helpers.builders_tf import keras, tf

Tensors = Mapping[str, Any]
# network(params, history [B, L, d], mask [B, L], start [B, K, L]) -> interests [B, K, d]; `start`
# are the first routing logits.
Network = Callable[[Tensors, Any, Any, Any], Any]


def mean_pooling(params: Tensors, history: Any, mask: Any, start: Any) -> Any:
    items = tf.reduce_sum(mask, axis=1, keepdims=True)
    mean = tf.reduce_sum(history * mask[..., None], axis=1) / (items + 1e-9)
    return tf.nn.bias_add(tf.matmul(mean, params["dense"]), params["dense_bias"])[:, None]


def recurrence(params: Tensors, history: Any, mask: Any, start: Any) -> Any:
    """Keras's layer: with `reset_after` false its reset gate acts where TensorFlow 1's did. Its
    gates stand in the order z (update), r (reset), candidate.
    """
    dim = history.shape[2]
    layer = keras.layers.GRU(dim, reset_after=False)
    layer.build((None, None, dim))
    reset, update = tf.split(params["gates"], 2, axis=1)
    kernels = tf.concat([update, reset, params["candidate"]], axis=1)
    reset_bias, update_bias = tf.split(params["gates_bias"], 2, axis=0)
    # Tensors in the variables' places, through which gradients reach our own parameters.
    layer.cell.kernel, layer.cell.recurrent_kernel = kernels[:dim], kernels[dim:]
    layer.cell.bias = tf.concat([update_bias, reset_bias, params["candidate_bias"]], axis=0)
    return layer(history, mask=mask > 0)[:, None]


def self_attention(params: Tensors, history: Any, mask: Any, start: Any) -> Any:
    """ComiRec, equations 8-10."""
    values = history * mask[..., None]
    hidden = tf.tanh(
        tf.tensordot(history + params["position"], params["hidden"], 1) + params["hidden_bias"]
    )
    logits = tf.transpose(
        tf.tensordot(hidden, params["heads"], 1) + params["heads_bias"], [0, 2, 1]
    )
    real = tf.broadcast_to(mask[:, None, :], tf.shape(logits))
    weights = tf.nn.softmax(tf.where(real > 0, logits, tf.fill(tf.shape(logits), -(2.0**32) + 1)))
    return tf.matmul(weights, values)


def dynamic_routing(params: Tensors, history: Any, mask: Any, start: Any) -> Any:
    """ComiRec, equations 4-7, with a map for each position and interest."""
    values = (history * mask[..., None])[:, :, None, None, :]  # [B, L, 1, 1, d]
    votes = tf.reduce_sum(params["bilinear"][None] * values, axis=4)  # multiply and sum
    return route(tf.transpose(votes, [0, 2, 1, 3]), mask, tf.zeros_like(start))


def mind(params: Tensors, history: Any, mask: Any, start: Any) -> Any:
    """MIND, Algorithm 1, and a ReLU layer."""
    shared = tf.tensordot(history * mask[..., None], params["shared"], 1) + params["shared_bias"]
    votes = tf.tile(shared[:, None], [1, start.shape[1], 1, 1])
    routed = route(votes, mask, start)
    projected = tf.tensordot(routed, params["projection"], 1) + params["projection_bias"]
    return tf.nn.relu(projected)


def route(votes: Any, mask: Any, logits: Any) -> Any:
    """Three iterations of routing over votes [B, K, L, d]; gradients through the last one only."""
    fixed = tf.stop_gradient(votes)
    for iteration in range(3):
        weights = tf.nn.softmax(logits, axis=1)
        weights = tf.where(mask[:, None, :] > 0, weights, tf.zeros_like(weights))[:, :, None, :]
        summed = tf.matmul(weights, votes if iteration == 2 else fixed)  # [B, K, 1, d]
        squared = tf.reduce_sum(tf.square(summed), axis=-1, keepdims=True)
        capsules = squared / (1 + squared) / tf.sqrt(squared + 1e-9) * summed
        logits += tf.squeeze(tf.matmul(fixed, capsules, transpose_b=True), axis=3)
    return tf.squeeze(capsules, axis=2)


NETWORKS: dict[str, Network] = {
    "ComiRec-DR": dynamic_routing,
    "ComiRec-SA": self_attention,
    "MIND": mind,
    "DNN": mean_pooling,
    "GRU4REC": recurrence,
}


def readout(interests: Any, target: Any) -> Any:
    """ComiRec, equation 11."""
    scores = tf.squeeze(tf.matmul(interests, target[:, :, None]), axis=2)
    return tf.gather(interests, tf.argmax(scores, axis=1), batch_dims=1)


def sampled_softmax(
    table: Any, user: Any, target: Any, negatives: Any, q_target: Any, q_negatives: Any
) -> Any:
    """Return the mean loss of ids `target` [B] and `negatives` [S] (1..V) with their expected
    counts, by TensorFlow's function; table [V+1, d], whose row 0 is padding and no class.
    """
    classes = table.shape[0] - 1
    losses = tf.nn.sampled_softmax_loss(
        weights=table[1:],
        biases=tf.zeros([classes]),
        labels=tf.constant(target[:, None] - 1, tf.int64),
        inputs=user,
        num_sampled=len(negatives),
        num_classes=classes,
        sampled_values=(
            tf.constant(negatives - 1, tf.int64),
            tf.constant(q_target[:, None], tf.float32),
            tf.constant(q_negatives, tf.float32),
        ),
    )
    return tf.reduce_mean(losses)


def check_gradients(
    computed: Mapping[str, Any], expected: Mapping[str, Any], natural: float = 0.0
) -> None:
    """Hold arrays against TensorFlow's gradients of the same names, sparse ones summed: to 1e-4 of
    the array's largest entry, as float32 sums come in another order, or of what is next to
    nothing: a hundredth of the largest of all (a softmax's gradient by a shift), or `natural`,
    the size of terms that may cancel out (a saturated softmax).
    """
    dense = {name: tf.convert_to_tensor(gradient).numpy() for name, gradient in expected.items()}
    assert computed.keys() == dense.keys()
    least = max(natural, 1e-2 * max(float(np.abs(one).max()) for one in dense.values()))
    for name, gradient in dense.items():
        atol = 1e-4 * max(float(np.abs(gradient).max()), least)
        np.testing.assert_allclose(computed[name], gradient, rtol=1e-3, atol=atol, err_msg=name)
