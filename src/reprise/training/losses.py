"""The training loss: the readout that selects an interest for the target, and sampled softmax or
a binary cross-entropy.

`make_loss` builds the loss of an `Objective`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from reprise.models.items import unit
from reprise.models.scoring import Scoring

_EXCLUDED = -1e30  # finite, so that no gradient turns into NaN


class Loss(Protocol):
    """loss(interests [B, K, d], target [B, d], negatives [S, d], log_q_target [B],
    log_q_negatives [S], accidental [B, S], key, more) -> [B], the loss of each row.

    accidental: negatives that are the row's target. more: terms to add to the scores of the target
    [B] and of the negatives [B, S], before they are divided by a temperature.
    """

    def __call__(
        self,
        interests: Array,
        target: Array,
        negatives: Array,
        log_q_target: ArrayLike,
        log_q_negatives: ArrayLike,
        accidental: Array,
        key: Array,
        more: tuple[Array, Array] | None = None,
    ) -> Array:
        """Return the losses."""


@dataclass(frozen=True)
class Objective:
    """The training objective.

    Attributes:
        selection: A name of READOUTS.
        temperature: None: logits are inner products; else cosines divided by it.
        neg_score: "selected": the interest selected for the target also scores the negatives;
            "max": each candidate, including the target, is scored by its best interest, as in
            retrieval.
        hard_negatives: b of `hard_cross_entropy`; 0: equal weights.
        positive_power: None: sampled softmax; else beta of `generalized_binary_cross_entropy`.
        interest_penalty: The weight of `alikeness`.
        routing_penalty: c, the weight of `attention_variance`.
        item_dropout: Fraction of the history's items that are set to zero in training.
        id_dropout: Fraction of a batch's items whose rows are left out in training, where they have
            features.
        scoring: How interests and items are compared, in training and in retrieval. The loss of an
            ensemble is the mean over its members.
    """

    selection: str = "argmax"
    temperature: float | None = None
    neg_score: str = "selected"
    hard_negatives: float = 0.0
    positive_power: float | None = None
    interest_penalty: float = 0.0
    routing_penalty: float = 0.0
    item_dropout: float = 0.0
    id_dropout: float = 0.0
    scoring: Scoring = field(default_factory=Scoring)

    def __post_init__(self) -> None:
        # Otherwise retrieval would compare by another measure than training.
        assert self.scoring.cosine == (self.temperature is not None)

    @property
    def by_best_interest(self) -> bool:
        """Whether `best_interest.mean_loss` computes it: equal to `make_loss`, and faster."""
        plain = self.hard_negatives == 0 and self.positive_power is None
        return self.neg_score == "max" and plain


COMIREC = Objective()


def make_loss(objective: Objective) -> Loss:
    """Return the loss of `objective`, without its penalties.

    For `COMIREC` it equals tf.nn.sampled_softmax_loss with zero bias: logits are inner products
    minus ln q.
    """
    readout = READOUTS[objective.selection]

    def loss(
        interests: Array,
        target: Array,
        negatives: Array,
        log_q_target: ArrayLike,
        log_q_negatives: ArrayLike,
        accidental: Array,
        key: Array,
        more: tuple[Array, Array] | None = None,
    ) -> Array:
        if objective.temperature is not None:
            # Applied to the interests, so that the readout and the softmax see the same scores.
            interests = unit(interests) / objective.temperature
            target, negatives = unit(target), unit(negatives)
        if objective.neg_score == "max":
            positive = jnp.max(_affinity(interests, target), axis=1)
            negative = best_scores(interests, negatives)
        else:
            positive, negative = scores(readout(interests, target, key), target, negatives)
        if more is not None:
            scale = 1.0 if objective.temperature is None else 1 / objective.temperature
            positive, negative = positive + scale * more[0], negative + scale * more[1]
        if objective.positive_power is not None:
            return generalized_binary_cross_entropy(
                positive, negative, accidental, objective.positive_power
            )
        positive = positive - log_q_target
        if objective.hard_negatives > 0:
            hardness = objective.hard_negatives
            return hard_cross_entropy(positive, negative, log_q_negatives, accidental, hardness)
        return cross_entropy(positive, negative - log_q_negatives, accidental)

    return loss


def scores(user: Array, target: Array, negatives: Array) -> tuple[Array, Array]:
    """Return the inner products of vectors [B, d] with their targets [B, d] and with the negatives
    [S, d]: [B] and [B, S].
    """
    return jnp.sum(user * target, axis=1), user @ negatives.T


def best_scores(interests: Array, items: Array) -> Array:
    """Return max_k v_k . e for interests [B, K, d] and items [S, d]: [B, S], from one product of
    [B*K, d] and [d, S].
    """
    size, count, dim = interests.shape
    every = (interests.reshape(size * count, dim) @ items.T).reshape(size, count, len(items))
    # Pairwise: the gradient of a maximum over an axis takes three more passes over all scores.
    return reduce(jnp.maximum, (every[:, k] for k in range(count)))


def argmax_readout(interests: Array, target: Array, key: Array) -> Array:
    """Select for each row the interest [B, d] with the largest inner product with its target
    (ComiRec, equation 11).

    interests [B, K, d], target [B, d]; the first interest wins ties.
    """
    return _pick(interests, jnp.argmax(_affinity(interests, target), axis=1))


def sampled_readout(interests: Array, target: Array, key: Array) -> Array:
    """Sample an interest for each row, k with probability softmax_k(v_k . target)."""
    return _pick(interests, jax.random.categorical(key, _affinity(interests, target)))


def soft_readout(interests: Array, target: Array, key: Array) -> Array:
    """Average each row's interests weighted by softmax_k(v_k . target): MIND's label-aware
    attention (arXiv 1904.08030, section 4.4) with power 1.
    """
    weights = jax.nn.softmax(_affinity(interests, target), axis=1)
    return jnp.einsum("bk,bkd->bd", weights, interests)


def item0_readout(interests: Array, target: Array, key: Array) -> Array:
    """Select for each row the interest nearest to item 0, the padding, as a TensorFlow 2 port of
    ComiRec does regardless of the target. Padding is zero here, so this is the first interest.
    """
    return interests[:, 0]


# readout(interests [B, K, d], target [B, d], key) -> [B, d], the vector trained on the target.
Readout = Callable[[Array, Array, Array], Array]
READOUTS: dict[str, Readout] = {
    "argmax": argmax_readout,
    "sample": sampled_readout,
    "soft": soft_readout,
    "item0": item0_readout,
}


def _affinity(interests: Array, target: Array) -> Array:
    return jnp.einsum("bkd,bd->bk", interests, target)


def _pick(interests: Array, chosen: Array) -> Array:
    return jnp.take_along_axis(interests, chosen[:, None, None], axis=1)[:, 0]


def cross_entropy(positive: Array, negative: Array, accidental: Array) -> Array:
    """Return the cross-entropy [B] of targets with logits [B] against negatives with logits [B, S],
    with the `accidental` ones [B, S] masked.
    """
    negative = jnp.where(accidental, _EXCLUDED, negative)
    normaliser = jnp.logaddexp(positive, jax.nn.logsumexp(negative, axis=1))
    return normaliser - positive


def hard_cross_entropy(
    positive: Array,
    negative: Array,
    log_q_negatives: ArrayLike,
    accidental: Array,
    hardness: float,
) -> Array:
    """Return the cross-entropy [B] of targets with logits [B] against negatives with scores [B, S]
    weighted by exp(hardness * score), with the total weight unchanged. log_q_negatives [S];
    `accidental` ones [B, S] are masked.

    Source: REMI (Xie et al., RecSys 2023, arXiv 2302.14532), interest-aware hard negative mining
    with n uniform negatives: -s_i + ln(e^s_i + n * sum e^((b+1) s_j) / sum e^(b s_j)). Here each
    negative represents 1 / q items: the same for a uniform q, and `cross_entropy` for b = 0.
    """

    def total(power: float) -> Array:
        weighed = jnp.where(accidental, _EXCLUDED, power * negative - log_q_negatives)
        return jax.nn.logsumexp(weighed, axis=1)

    mass = total(hardness + 1) - total(hardness) + total(0.0)
    return jnp.logaddexp(positive, mass) - positive


def generalized_binary_cross_entropy(
    positive: Array, negative: Array, accidental: Array, power: float
) -> Array:
    """Return gBCE [B]: -ln(sigmoid(s)^power) of targets with scores [B], less the sum of
    ln(1 - sigmoid(s)) over negatives with scores [B, S]; `accidental` ones [B, S] are left out.

    Source: gSASRec (Petrov and Macdonald, RecSys 2023, arXiv 2308.07192).
    """
    of_negatives = jnp.where(accidental, 0, jax.nn.softplus(negative))
    return power * jax.nn.softplus(-positive) + jnp.sum(of_negatives, axis=1)


def positive_power(negatives: int, num_items: int, calibration: float) -> float:
    """Return gBCE's beta = a (t (1 - 1/a) + 1/a) of the share a = negatives / (V - 1) of the other
    items that are negatives, and the calibration t: 1 of t = 0, which is the plain binary
    cross-entropy, and a of t = 1, where sigmoids become probabilities.

    Source: gSASRec (arXiv 2308.07192), the calibration of gBCE.
    """
    share = min(1.0, negatives / max(1, num_items - 1))
    return share * (calibration * (1 - 1 / share) + 1 / share)


def alikeness(interests: Array) -> Array:
    """Return the mean squared cosine [...] of the pairs of interests [..., K, d]; K > 1."""
    vectors = unit(interests)
    squared = jnp.square(jnp.einsum("...kd,...ld->...kl", vectors, vectors))
    count = interests.shape[-2]
    own = jnp.einsum("...kk->...", squared)
    return (jnp.sum(squared, axis=(-2, -1)) - own) / (count * (count - 1))


def attention_variance(attention: Array, mask: Array) -> Array:
    """Return sum_k Var_bk^2 [B], Var_bk = sum_l (A_bkl - mean_l A_bkl)^2 over the items of a
    history, for attention [B, K, L] with mask [B, L] (1 = item). It is high if an interest attends
    to a single item.

    Source: REMI (arXiv 2302.14532), routing regularization; padding is masked here.
    """
    mask = mask[:, None, :]
    count = jnp.maximum(jnp.sum(mask, axis=2, keepdims=True), 1)
    mean = jnp.sum(attention * mask, axis=2, keepdims=True) / count
    variance = jnp.sum(jnp.square(attention - mean) * mask, axis=2)
    return jnp.sum(jnp.square(variance), axis=1)
