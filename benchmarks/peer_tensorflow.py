"""ComiRec-DR's training step in TensorFlow and Keras as people run it, driven by `peers`:
GradientTape inside tf.function, Keras's Adam, tf.nn.sampled_softmax_loss with its own negatives.
"tile" makes the votes by tiling each item, multiplying and summing, as ComiRec's published program
does; "matmul" by one product a position and interest.
"""

import json
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

RATE = 0.001


def votes_of(program: str, bilinear: Any, history: Any) -> Any:
    """Return votes [B, K, L, d] of bilinear [L, K, d, d] and history [B, L, d]."""
    length, count, dim, _ = bilinear.shape
    if program == "matmul":
        return tf.einsum("lked,bld->bkle", bilinear, history)
    maps = tf.reshape(bilinear, [1, length, count * dim, dim])
    tiled = tf.tile(history[:, :, None, :], [1, 1, count * dim, 1])
    votes = tf.reshape(tf.reduce_sum(maps * tiled, axis=3), [-1, length, count, dim])
    return tf.transpose(votes, [0, 2, 1, 3])


def route(votes: Any, mask: Any) -> Any:
    """Three rounds of routing, the first two without gradient."""
    constant = tf.stop_gradient(votes)
    logits = tf.zeros(tf.shape(votes)[:3])
    for turn in range(3):
        used = votes if turn == 2 else constant
        coupling = tf.nn.softmax(logits, axis=1) * mask[:, None, :]
        capsule = tf.matmul(coupling[:, :, None, :], used)
        square = tf.reduce_sum(tf.square(capsule), axis=-1, keepdims=True)
        capsule *= square / (1 + square) / tf.sqrt(square + 1e-9)
        if turn < 2:
            logits += tf.squeeze(tf.matmul(constant, tf.transpose(capsule, [0, 1, 3, 2])), 3)
    return tf.squeeze(capsule, 2)


def main() -> None:
    told = json.loads(sys.argv[1])
    with np.load(sys.argv[2]) as arrays:
        data = dict(arrays)
    items, dim, length = told["items"] + 1, told["dim"], told["length"]
    table = tf.Variable(tf.random.normal([items, dim], stddev=0.01))
    bilinear = tf.Variable(tf.random.normal([length, told["interests"], dim, dim]))
    zero_bias = tf.zeros([items])
    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build([table, bilinear])

    def step(history: Any, lengths: Any, target: Any) -> None:
        mask = tf.sequence_mask(lengths, length, tf.float32)
        with tf.GradientTape() as tape:
            looked_up = tf.nn.embedding_lookup(table, history) * mask[..., None]
            interests = route(votes_of(told["program"], bilinear, looked_up), mask)
            wanted = tf.nn.embedding_lookup(table, target)
            best = tf.argmax(tf.squeeze(tf.matmul(interests, wanted[..., None]), 2), axis=1)
            losses = tf.nn.sampled_softmax_loss(
                weights=table,
                biases=zero_bias,
                labels=tf.cast(target[:, None], tf.int64),
                inputs=tf.gather(interests, best, batch_dims=1),
                num_sampled=told["negatives"],
                num_classes=items,
            )
            loss = tf.reduce_mean(losses)
        variables = [table, bilinear]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    compiled = tf.function(step)
    count, done = len(data["target"]), 0
    print("peer: ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for number in range(done, done + int(line)):
            batch = [data[name][number % count] for name in ("history", "lengths", "target")]
            compiled(*map(tf.constant, batch))
        done += int(line)
        bilinear.numpy()  # all steps are done
        print(f"peer: {1e3 * (time.perf_counter() - start) / int(line)}", flush=True)


if __name__ == "__main__":
    main()
