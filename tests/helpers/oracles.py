"""Slow, obvious references that the tests compare the package with: loops over users, positions,
interests and items, in double precision. Nothing here uses the package.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Doubles: TypeAlias = NDArray[np.float64]


# Negatives and loss


def draw_unique(uniforms: Iterator[float], count: int, num_items: int) -> tuple[list[int], int]:
    """Return distinct ids in the order drawn, and the number of tries.

    Source: TensorFlow, range_sampler.cc: LogUniformSampler::Sample inside the loop of
    RangeSampler::SampleBatchGetExpectedCountAvoid; its class c is our item id c + 1.
    """
    picked: list[int] = []
    tries = 0
    while len(picked) < count:
        tries += 1
        value = int(math.exp(next(uniforms) * math.log(num_items + 1))) - 1
        item = value % num_items + 1
        if item not in picked:
            picked.append(item)
    return picked, tries


def expected_count(item: int, num_items: int, count: int, tries: int) -> float:
    """Source: TensorFlow, range_sampler.cc: ExpectedCountHelper, LogUniformSampler::Probability."""
    p = math.log((item + 1) / item) / math.log(num_items + 1)
    return p * count if tries == count else 1.0 - (1.0 - p) ** tries


def target_chance(
    sequences: Sequence[Sequence[int]], first: int, next_n: int = 1
) -> dict[int, float]:
    """Return how likely each item is a row's target: a user who has more than `first` items, a
    position of his from there, and one of the `next_n` items from it, each as likely as any.
    """
    able = [sequence for sequence in sequences if len(sequence) > first]
    chance: dict[int, float] = {}
    for sequence in able:
        for position in range(first, len(sequence)):
            following = sequence[position : position + next_n]
            share = 1 / len(able) / (len(sequence) - first) / len(following)
            for item in following:
                chance[item] = chance.get(item, 0.0) + share
    return chance


def sampled_softmax(
    user: Floats,
    target: Floats,
    negatives: Floats,
    log_q_target: Floats,
    log_q_negatives: Floats,
    accidental: NDArray[np.bool_],
) -> float:
    """Source: tf.nn.sampled_softmax_loss by its definition (zero bias, accidental hits removed):
    the mean of -ln softmax([target, negatives])[0].
    """
    total = 0.0
    for b in range(len(user)):
        logits = [_dot(user[b], target[b]) - float(log_q_target[b])] + [
            _dot(user[b], negatives[s]) - float(log_q_negatives[s])
            for s in range(len(negatives))
            if not accidental[b, s]
        ]
        highest = max(logits)
        total += highest + math.log(sum(math.exp(x - highest) for x in logits)) - logits[0]
    return total / len(user)


def readout(interests: Floats, target: Floats) -> Floats:
    """Source: ComiRec, equation 11: each user's interest nearest its target, the first on ties."""
    chosen = []
    for user_interests, item in zip(interests, target, strict=True):
        scores = [_dot(interest, item) for interest in user_interests]
        chosen.append(user_interests[scores.index(max(scores))])
    return np.array(chosen)


def unit(vectors: Floats) -> Doubles:
    """Return vectors [N, d] at length 1, those shorter than 1e-6 divided by that instead."""
    return np.array(
        [v.astype(np.float64) / max(math.sqrt(_dot(v, v)), 1e-6) for v in vectors]
    ).reshape(vectors.shape)


def best_score(interests: Floats, item: Floats) -> float:
    """Return the highest inner product of one user's interests [K, d] with an item, as retrieval
    scores it (ComiRec, equation 12 and the top-N of section 3.3).
    """
    return max(_dot(interest, item) for interest in interests)


def gbce_loss(
    positive: Sequence[float],
    negative: Sequence[Sequence[float]],
    accidental: NDArray[np.bool_],
    power: float,
) -> float:
    """Return gSASRec's loss, the mean of -ln(sigmoid(s)^power) of targets, less the sum of
    ln(1 - sigmoid(s)) over the negatives that are not accidental.
    """
    total = 0.0
    for b, (own, others) in enumerate(zip(positive, negative, strict=True)):
        total += power * math.log1p(math.exp(-own))
        for score, left_out in zip(others, accidental[b], strict=True):
            total += 0.0 if left_out else math.log1p(math.exp(score))
    return total / len(positive)


def softmax_loss(
    positive: Sequence[float],
    negative: Sequence[Sequence[float]],
    log_q_target: Floats,
    log_q_negatives: Floats,
    accidental: NDArray[np.bool_],
    hardness: float = 0.0,
) -> float:
    """Return the mean of -ln(P / (P + N)) for the scores of targets and negatives, P = e^s / q.

    N is the sum of e^s / q over the negatives that are not accidental, or with `hardness` b REMI's
    reweighted one: sum of (e^(b s) e^s / q), over the mean of e^(b s), that by 1 / q, too.
    """
    total = 0.0
    for b, (own, others) in enumerate(zip(positive, negative, strict=True)):
        kept = [
            (score, math.exp(-float(log_q)))
            for score, log_q, left_out in zip(others, log_q_negatives, accidental[b], strict=True)
            if not left_out
        ]
        if not kept:
            continue
        # Shares of the highest, and sums by logarithms: e^(b s) may be beyond doubles, and beside
        # scores far above it a target's share is 0 in them.
        highest, mean, mass = max(score for score, _ in kept), 0.0, 0.0
        for score, weight in kept:
            share = math.exp(hardness * (score - highest))
            mean += share * weight / sum(one for _, one in kept)
            mass += share * math.exp(score - highest) * weight
        log_target = own - float(log_q_target[b])
        log_mass = math.log(mass / mean) + highest
        total += float(np.logaddexp(log_target, log_mass)) - log_target
    return total / len(positive)


def attention_variance(attention: Floats, lengths: Sequence[int]) -> float:
    """Source: REMI, routing regularization: the mean over users of each interest's squared variance
    (a sum over the history's items, not a mean), summed over the interests.
    """
    total = 0.0
    for interests, length in zip(attention, lengths, strict=True):
        for weights in interests:
            own = [float(weight) for weight in weights[:length]]
            mean = sum(own) / length
            total += sum((weight - mean) ** 2 for weight in own) ** 2
    return total / len(attention)


def soft_readout(interests: Floats, target: Floats) -> Floats:
    """Source: MIND, section 4.4, label-aware attention with power 1."""
    means = []
    for user_interests, item in zip(interests, target, strict=True):
        weights = [math.exp(_dot(interest, item)) for interest in user_interests]
        total = np.zeros(len(item))
        for weight, interest in zip(weights, user_interests, strict=True):
            total += weight / sum(weights) * interest
        means.append(total)
    return np.array(means)


# Models: one user, history [L, d] of which the first `length` rows are items


def routing_weights(votes: Doubles, start: Floats) -> Doubles:
    """Return the coupling [K, length] of the third routing iteration from logits `start`.

    Source: ComiRec, model.py, CapsuleNetwork.call; equations 4-7 of the paper. votes [K, L, d].
    """
    logits = start.astype(np.float64)
    for _ in range(2):
        interests = capsules(votes, _softmax_over_interests(logits))
        for k in range(logits.shape[0]):
            for p in range(logits.shape[1]):
                logits[k, p] += _dot(votes[k, p], interests[k])
    return _softmax_over_interests(logits)


def capsules(votes: Doubles, coupling: Doubles) -> Doubles:
    """Return interests [K, d]: the squashed sums of the votes, weighted by `coupling`."""
    count, length = coupling.shape
    result = []
    for k in range(count):
        total = np.zeros(votes.shape[2])
        for p in range(length):
            total += coupling[k, p] * votes[k, p]
        squared = _dot(total, total)
        result.append(total * (squared / (1 + squared) / math.sqrt(squared + 1e-9)))
    return np.array(result)


def bilinear_votes(bilinear: Floats, history: Floats) -> Doubles:
    """Return votes [K, L, d] of ComiRec-DR's maps [L, K, d, d] (bilinear_type 2)."""
    length, count = bilinear.shape[:2]
    return np.array(
        [
            [bilinear[p, k].astype(np.float64) @ history[p] for p in range(length)]
            for k in range(count)
        ]
    )


def shared_votes(params: Mapping[str, Floats], history: Floats, count: int) -> Doubles:
    """Return votes [K, L, d] of MIND's one map, the same for each interest (bilinear_type 0)."""
    shared, bias = (params[name].astype(np.float64) for name in ("shared", "shared_bias"))
    return np.array([[item @ shared + bias for item in history] for _ in range(count)])


def dynamic_routing(bilinear: Floats, history: Floats, length: int) -> Doubles:
    """Return ComiRec-DR's interests [K, d]."""
    votes = bilinear_votes(bilinear, history)
    return capsules(votes, routing_weights(votes, np.zeros((len(votes), length))))


def mind(params: Mapping[str, Floats], history: Floats, start: Floats) -> Doubles:
    """Return MIND's interests [K, d], routed from logits `start` [K, length].

    Source: ComiRec, model.py, Model_MIND with relu_layer.
    """
    votes = shared_votes(params, history, len(start))
    routed = capsules(votes, routing_weights(votes, start))
    projected = routed @ params["projection"].astype(np.float64) + params["projection_bias"]
    return np.array([[max(x, 0.0) for x in interest] for interest in projected])


def mean_pooling(params: Mapping[str, Floats], history: Floats, length: int) -> Doubles:
    """Return DNN's interest [1, d]. Source: ComiRec, model.py, Model_DNN."""
    mean = np.zeros(history.shape[1])
    for p in range(length):
        mean += history[p] / length
    interest: Doubles = mean @ params["dense"].astype(np.float64) + params["dense_bias"]
    return interest[None]


def gated_recurrence(params: Mapping[str, Floats], history: Floats, length: int) -> Doubles:
    """Return GRU4REC's interest [1, h].

    Source: TensorFlow 1, rnn_cell_impl.py, GRUCell.call; ComiRec, model.py, Model_GRU4REC.
    """
    doubles = {name: array.astype(np.float64) for name, array in params.items()}
    size = len(doubles["candidate_bias"])
    state = np.zeros(size)
    for item in history[:length]:
        gates = np.concatenate([item, state]) @ doubles["gates"] + doubles["gates_bias"]
        reset = [_sigmoid(x) for x in gates[:size]]
        update = [_sigmoid(x) for x in gates[size:]]
        heard = np.concatenate([item, np.array(reset) * state])
        candidate = np.tanh(heard @ doubles["candidate"] + doubles["candidate_bias"])
        state = np.array(
            [u * old + (1 - u) * new for u, old, new in zip(update, state, candidate, strict=True)]
        )
    return state[None]


def causal_encoder(
    params: Mapping[str, Floats],
    history: Floats,
    length: int,
    heads: int,
    factors: Sequence[Floats] | None = None,
    when: Sequence[int | None] | None = None,
) -> Doubles:
    """Return the history's items [length, d] encoded by blocks of attention to what came before.

    Source: SASRec, section 3, with the normalisation before each half of a block; `factors`
    [length, d] are what dropout multiplies by, at each of its places. when: the seconds since 1970
    of each item, and of the request after the last; None: unknown.
    """
    doubles = {
        name.removeprefix("encoder."): array.astype(np.float64) for name, array in params.items()
    }
    ones = iter([np.ones(history.shape)] * 1000 if factors is None else factors)
    start = next(ones)
    when = [None] * (length + 1) if when is None else when
    xs = [
        (history[p] + _of_request(doubles, when[p], when[p + 1])) * start[p] for p in range(length)
    ]
    layer = 0
    while f"{layer}.query" in doubles:
        block = {
            name.partition(".")[2]: array
            for name, array in doubles.items()
            if name.startswith(f"{layer}.")
        }
        seen = [_layer_norm(x, block["attention_gain"], block["attention_bias"]) for x in xs]
        gates = [_gate(block, "attention", x) for x in xs]
        factor = next(ones)
        xs = [
            xs[p]
            + gates[p]
            * factor[p]
            * (_attended(block, seen[: p + 1], heads, when[: p + 2]) @ block["out"])
            for p in range(length)
        ]
        factor = next(ones)
        for p in range(length):
            read = _layer_norm(xs[p], block["feed_gain"], block["feed_bias"])
            inner = read @ block["inner"] + block["inner_bias"]
            hidden = np.array([max(number, 0.0) for number in inner])
            if "linear" in block:  # SwiGLU
                linear = read @ block["linear"] + block["linear_bias"]
                swish = [number * _sigmoid(number) for number in inner]
                hidden = np.array([one * other for one, other in zip(swish, linear, strict=True)])
            gate = _gate(block, "feed", xs[p])
            xs[p] = xs[p] + gate * factor[p] * (hidden @ block["outer"] + block["outer_bias"])
        layer += 1
    return np.array(xs)


def _gate(block: Mapping[str, Doubles], half: str, x: Doubles) -> Doubles:
    """Return LiGR's gate of a residual path [d]; ones in plain blocks."""
    if f"{half}_gate" not in block:
        return np.ones(len(x))
    logits = x @ block[f"{half}_gate"] + block[f"{half}_gate_bias"]
    return np.array([_sigmoid(logit) for logit in logits])


def time_bucket(gap: int) -> int:
    """Return the bucket of a gap in seconds: 0, 1, 2, 3, 4 to 5, 6 to 7, 8 to 11, 12 to 15, ..."""
    bucket, start, size = 2, 2, 1
    if gap < 2:
        return max(gap, 0)
    while gap >= start + size:
        start, bucket = start + size, bucket + 1
        size = 2 ** (int(math.log2(start)) - 1)
    return bucket


def _of_request(doubles: Mapping[str, Doubles], item: int | None, request: int | None) -> Doubles:
    """Return what is added to an item [d] for the request after it."""
    total = np.zeros(1)
    if request is None:
        return total
    at = datetime.fromtimestamp(request, UTC)
    if item is not None and "request_gap" in doubles:
        total = total + doubles["request_gap"][time_bucket(request - item)]
    if "hour" in doubles:
        total = total + doubles["hour"][at.hour]
    if "weekday" in doubles:
        total = total + doubles["weekday"][at.weekday()]
    return total


def _by_time(
    block: Mapping[str, Doubles], head: int, item: int | None, last: int | None, request: int | None
) -> float:
    """Return the bias of the last item's attention to one by the gaps to them and the request."""
    bias = 0.0
    for name, end in (("gap", last), ("request", request)):
        if name in block and item is not None and end is not None:
            bias += block[name][head][time_bucket(end - item)]
    return bias


def _attended(
    block: Mapping[str, Doubles],
    seen: Sequence[Doubles],
    heads: int,
    when: Sequence[int | None],
) -> Doubles:
    """Return what the last of `seen` takes from all of them, head by head [d]; when: of each, and
    of the request after the last.
    """
    size = len(seen[0]) // heads
    result = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        query = (seen[-1] @ block["query"])[own]
        scores = [
            _dot(query, (x @ block["key"])[own]) / math.sqrt(size)
            + block["distance"][head][len(seen) - 1 - place]
            + _by_time(block, head, when[place], when[-2], when[-1])
            for place, x in enumerate(seen)
        ]
        weights = [math.exp(score - max(scores)) for score in scores]
        taken = np.zeros(size)
        for weight, x in zip(weights, seen, strict=True):
            taken += weight / sum(weights) * (x @ block["value"])[own]
        result.append(taken)
    return np.concatenate(result)


def _layer_norm(x: Doubles, gain: Doubles, bias: Doubles) -> Doubles:
    mean = sum(x) / len(x)
    variance = sum((number - mean) ** 2 for number in x) / len(x)
    return np.array([(number - mean) / math.sqrt(variance + 1e-8) for number in x]) * gain + bias


def self_attention(params: Mapping[str, Floats], history: Floats, length: int) -> Doubles:
    """Return ComiRec-SA's interests [K, d].

    Source: ComiRec, model.py, Model_ComiRec_SA; equations 8-10 of the paper.
    """
    doubles = {name: array.astype(np.float64) for name, array in params.items()}
    history, result = history.astype(np.float64), []
    for k in range(doubles["heads"].shape[1]):
        weights = []
        for p in range(length):
            placed = history[p] + doubles["position"][p]
            hidden = np.tanh(placed @ doubles["hidden"] + doubles["hidden_bias"])
            weights.append(math.exp(hidden @ doubles["heads"][:, k] + doubles["heads_bias"][k]))
        pooled = np.zeros(history.shape[1])
        for p in range(length):
            pooled += weights[p] / sum(weights) * history[p]
        result.append(pooled)
    return np.array(result)


def last_normalised(params: Mapping[str, Floats], history: Floats, length: int) -> Doubles:
    """Return SASRec's interest [1, d]: the last of a history's first `length` items, normalised."""
    gain, bias = (params[f"last_{name}"].astype(np.float64) for name in ("gain", "bias"))
    return _layer_norm(history[length - 1].astype(np.float64), gain, bias)[None]


def reading_tokens(params: Mapping[str, Floats], history: Floats, length: int) -> Doubles:
    """Return the interests [K, d] of tokens that read a history's first `length` items."""
    own = {name: array.astype(np.float64) for name, array in params.items()}
    items = [item.astype(np.float64) for item in history[:length]]
    keys = [_layer_norm(item, own["key_gain"], np.zeros(1)) @ own["key"] for item in items]
    result = []
    for token, distance in zip(own["token"], own["distance"], strict=True):
        logits = [_dot(token, key) + distance[length - 1 - p] for p, key in enumerate(keys)]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        read = np.zeros(len(token))
        for weight, item in zip(weights, items, strict=True):
            read += weight / sum(weights) * item
        standing = _layer_norm(read, own["feed_gain"], own["feed_bias"]) + token
        inner = standing @ own["inner"] + own["inner_bias"]
        hidden = np.array([max(number, 0.0) for number in inner])
        result.append(read + hidden @ own["outer"] + own["outer_bias"])
    return np.array(result)


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def _softmax_over_interests(logits: Doubles) -> Doubles:
    weights = np.zeros(logits.shape)
    for p in range(logits.shape[1]):
        exponentials = [math.exp(x - logits[:, p].max()) for x in logits[:, p]]
        weights[:, p] = np.array(exponentials) / sum(exponentials)
    return weights


# Optimizer and stopping


class Adam(NamedTuple):
    """A value with its Adam moments."""

    value: Doubles
    m: Doubles
    v: Doubles


def schedule(number: int, warmup: int, decay: str, decay_steps: int) -> float:
    """Return the factor of the learning rate at an update, from 1: linear warm-up times a decay to
    a hundredth (cosine: Loshchilov and Hutter, ICLR 2017, equation 5, one period).
    """
    factor = number / warmup if number < warmup else 1.0
    if decay == "none":
        return factor
    done = number / decay_steps if number < decay_steps else 1.0
    left = 1 - done if decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return factor * (0.01 + 0.99 * left)


def adam(state: Adam, gradient: Floats, learning_rate: float, step: int) -> Adam:
    """Return the state after update number `step` (from 1).

    Source: tf.train.AdamOptimizer's documentation ("epsilon hat"), beta 0.9 and 0.999, eps 1e-8.
    """
    rate = learning_rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    m = 0.9 * state.m + 0.1 * gradient
    v = 0.999 * state.v + 0.001 * gradient**2
    return Adam(state.value - rate * m / (np.sqrt(v) + 1e-8), m, v)


class Evaluated(NamedTuple):
    """What early stopping knows after an evaluation; best: the number of the best one, or None."""

    best: int | None
    trials: int
    stop: bool


def early_stopping(metrics: Sequence[float], patience: int) -> list[Evaluated]:
    """Source: ComiRec, train.py: strict improvement, `trials > patience`; other than there, the
    first finite metric counts as an improvement, and one that is not finite never does.
    """
    seen: list[Evaluated] = []
    best, trials = None, 0
    for number, metric in enumerate(metrics):
        usable = not math.isnan(metric) and not math.isinf(metric)
        if usable and (best is None or metric > metrics[best]):
            best, trials = number, 0
        else:
            trials += 1
        seen.append(Evaluated(best, trials, trials > patience))
    return seen


# Retrieval: one user


def merged(candidates: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return (item, best score) of (item, score) pairs: each item once, never item 0, by falling
    score, ties by rising id.
    """
    best: dict[int, float] = {}
    for item, score in candidates:
        if item != 0:
            best[item] = max(score, best.get(item, -math.inf))
    return sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))


def rank(interests: Floats, items: Floats) -> list[tuple[int, float]]:
    """Return every item (ids from 1) with its highest inner product, best first."""
    return merged(
        (row + 1, _dot(interest, items[row])) for interest in interests for row in range(len(items))
    )


def greedy(
    candidates: Sequence[tuple[int, float]],
    category: Sequence[int],
    top_n: int,
    coef: float,
) -> list[int]:
    """Return ids chosen one by one for the highest score - coef * taken(category), first on ties.

    Source: ComiRec, train.py, evaluate_full with coef; section 3.3 of the paper. Items without
    category (-1) are no candidates.
    """
    left = [(item, score) for item, score in candidates if category[item] >= 0]
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    while left and len(chosen) < top_n:
        values = [score - coef * taken[category[item]] for item, score in left]
        item, _ = left.pop(values.index(max(values)))
        taken[category[item]] += 1
        chosen.append(item)
    return chosen


class Listed(NamedTuple):
    """A recommended item and the interest (from 0) that it comes from."""

    item: int
    interest: int


def evaluate_full(
    items: Floats,
    interests: Floats,
    history: Sequence[int],
    targets: Sequence[int],
    category: Sequence[int],
    cutoffs: Sequence[int],
    coef: float | None = None,
    filter_seen: bool = False,
) -> tuple[list[Listed], dict[str, float]]:
    """Return one user's list and its metrics at each cutoff ("recall@50").

    Source: ComiRec, train.py, evaluate_full: the K interests' own lists merged by score, each item
    once at its best (the first interest's on ties), never item 0, cut or chosen by category. Other
    than there, the list keeps its order before metrics are taken (there, a set loses it, which
    changes ndcg only), equal scores rank by rising id, and `history` can be filtered out.
    """
    top_n = max(cutoffs)
    best: dict[int, tuple[float, int]] = {}
    for k, interest in enumerate(interests):
        own = rank(interest[None], items)
        if filter_seen:
            own = [(item, score) for item, score in own if item not in history]
        for item, score in own[:top_n]:
            if item not in best or score > best[item][0]:
                best[item] = (score, k)
    candidates = merged((item, score) for item, (score, _) in best.items())
    if coef is None:
        chosen = [item for item, _ in candidates[:top_n]]
    else:
        chosen = greedy(candidates, category, top_n, coef)
    metrics: dict[str, float] = {}
    for n in cutoffs:
        values = metrics_at(chosen, targets, n)
        values["diversity"] = diversity(chosen[:n], category) if len(chosen[:n]) > 1 else 0.0
        metrics |= {f"{name}@{n}": value for name, value in values.items()}
    return [Listed(item, best[item][1]) for item in chosen], metrics


def interest_health(
    lists: Sequence[Sequence[Listed]], num_interest: int, n: int
) -> dict[str, float]:
    """Return shares (by interest from 1), dead interests, and interests used by a user."""
    counts = [0] * num_interest
    used = 0
    for listed in lists:
        for entry in listed[:n]:
            counts[entry.interest] += 1
        used += len({entry.interest for entry in listed[:n]})
    total = sum(counts)
    health: dict[str, float] = {
        f"interest_share_{k + 1}@{n}": count / total if total else 0.0
        for k, count in enumerate(counts)
    }
    health[f"interest_dead@{n}"] = sum(10 * num_interest * count < total for count in counts)
    health[f"interests_used@{n}"] = used / len(lists)
    return health


def mean_cosine(interests: Floats) -> float:
    """Return the mean cosine of all pairs of one user's interests, 0 where one is zero."""
    cosines = []
    for i in range(len(interests)):
        for j in range(i):
            norms = math.sqrt(_dot(interests[i], interests[i]) * _dot(interests[j], interests[j]))
            cosines.append(_dot(interests[i], interests[j]) / norms if norms > 0 else 0.0)
    return sum(cosines) / len(cosines)


def popularity_groups(counts: Mapping[int, int]) -> dict[int, str]:
    """Return head, middle or tail for each item: by falling count, the next group from where a
    third, and two thirds, of all interactions are passed.
    """
    groups, passed, total = {}, 0, sum(counts.values())
    for item in sorted(counts, key=lambda item: (-counts[item], item)):
        groups[item] = (
            "head" if 3 * passed < total else "middle" if 3 * passed < 2 * total else "tail"
        )
        passed += counts[item]
    return groups


def category_entropy(items: Sequence[int], category: Sequence[int]) -> float | None:
    """Return the entropy in bits of the items' categories (-1: unknown), None without any."""
    known = [category[item] for item in items if category[item] >= 0]
    if not known:
        return None
    shares = [known.count(one) / len(known) for one in set(known)]
    return -math.fsum(share * math.log2(share) for share in shares)


def mixture_groups(entropies: Sequence[float | None]) -> list[str]:
    """Return each user's third by rising entropy, all who tie where the first of them falls."""
    known = [one for one in entropies if one is not None]
    groups = []
    for own in entropies:
        if own is None:
            groups.append("unknown")
            continue
        below = sum(other < own - 1e-6 for other in known)
        third = 3 * below >= len(known), 3 * below >= 2 * len(known)
        groups.append(("focused", "middle", "mixed")[sum(third)])
    return groups


def bootstrap(
    values: Sequence[float], resamples: Sequence[Sequence[int]], level: float
) -> tuple[float, float]:
    """Return the percentile interval of the mean; each resample tells whose values came up.
    Percentiles are linear between means.
    """
    means = sorted(sum(values[i] for i in drawn) / len(drawn) for drawn in resamples)
    bounds = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = share * (len(means) - 1)
        low = math.floor(place)
        high = min(low + 1, len(means) - 1)
        bounds.append(means[low] + (place - low) * (means[high] - means[low]))
    return bounds[0], bounds[1]


def metrics_at(recommended: Sequence[int], targets: Sequence[int], n: int) -> dict[str, float]:
    """Return recall, hitrate and ndcg_comirec as ComiRec's published evaluate_full (train.py),
    ndcg by the standard definition (Järvelin and Kekäläinen 2002, binary gains), mrr, and map
    and precision as trec_eval's map_cut and P.
    """
    wanted = set(targets)
    hits, dcg, reciprocal, precisions = 0, 0.0, 0.0, 0.0
    for place, item in enumerate(recommended[:n]):
        if item in wanted:
            hits += 1
            reciprocal = reciprocal or 1.0 / (place + 1)
            precisions += hits / (place + 1)
            dcg += 1.0 / math.log(place + 2, 2)
    return {
        "recall": hits / len(targets),
        "hitrate": 1.0 if hits > 0 else 0.0,
        "ndcg_comirec": dcg / _ideal(hits) if hits > 0 else 0.0,
        "ndcg": dcg / _ideal(min(n, len(wanted))),
        "mrr": reciprocal,
        "map": precisions / len(wanted),
        "precision": hits / n,
    }


def diversity(recommended: Sequence[int], category: Sequence[int]) -> float:
    """Source: ComiRec, train.py, compute_diversity; equation 15 of the paper."""
    n = len(recommended)
    different = 0
    for i in range(n):
        for j in range(i + 1, n):
            different += category[recommended[i]] != category[recommended[j]]
    return different / ((n - 1) * n / 2)


def novelty(recommended: Sequence[int], counts: Sequence[int]) -> float:
    """Source: Vargas and Castells, RecSys 2011, the mean of -log2 p(item); an item that training
    never saw counts as one that it saw once.
    """
    bits = [-math.log(max(counts[item], 1) / sum(counts), 2) for item in recommended]
    return sum(bits) / len(bits) if bits else 0.0


def average_popularity(recommended: Sequence[int], counts: Sequence[int]) -> float:
    """Source: Yin et al., VLDB 2012, the average recommendation popularity of one list."""
    return sum(counts[item] for item in recommended) / len(recommended) if recommended else 0.0


def gini(exposure: Sequence[int]) -> float:
    """Return half the mean difference between any two of the items' exposures, by their mean."""
    n, total = len(exposure), sum(exposure)
    apart = sum(abs(one - other) for one in exposure for other in exposure)
    return apart / (2 * n * total) if total else 0.0


def interest_coverage(
    recommended: Sequence[int], item_interest: Sequence[int], held: Sequence[int]
) -> float:
    """Return the share of the held interests (-1: none) with at least a tenth of the list."""
    real = [interest for interest in held if interest >= 0]
    covered = 0
    for interest in real:
        items = [item for item in recommended if item_interest[item] == interest]
        covered += 10 * len(items) >= len(recommended)
    return covered / len(real)


def _ideal(hits: int) -> float:
    return sum(1.0 / math.log(place + 2, 2) for place in range(hits))


def _dot(left: Floats, right: Floats) -> float:
    return float(left.astype(np.float64) @ right.astype(np.float64))


def tie_hash(user: str, item: str, time: float) -> int:
    """The number that orders a user's items of one time in parts without an order: FNV-1a of the
    ids' bytes, stirred by SplitMix64's last steps.
    """

    def fnv(text: str) -> int:
        found = 0xCBF29CE484222325
        for byte in text.encode():
            found = (found ^ byte) * 0x100000001B3 % 2**64
        return found

    def mix(number: int) -> int:
        number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
        return number ^ number >> 31

    whole = time < 2**63 and time == int(time)
    bits = int(time) if whole else struct.unpack("<Q", struct.pack("<d", time))[0]
    return mix(mix(mix(fnv(user)) ^ fnv(item)) ^ bits)
