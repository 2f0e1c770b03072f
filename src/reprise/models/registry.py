"""The registry: every model by name, each a pure pair (init, interests)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from reprise.errors import UsageError
from reprise.text.suggest import suggest

if TYPE_CHECKING:
    from jax import Array

# A network's parameters by name, float32.
Params: TypeAlias = "dict[str, Array]"

# One line a model: the module that makes its interests. Modules load on demand, so that
# listing the names does not import JAX.
REGISTRY = {
    "ComiRec-DR": "reprise.models.capsules",
    "ComiRec-SA": "reprise.models.attention",
    "MIND": "reprise.models.mind",
    "DNN": "reprise.models.pooling",
    "GRU4REC": "reprise.models.recurrent",
    "Queries": "reprise.models.queries",
    "MostPop": "reprise.models.popularity",
}
# Models that one look at the data makes: nothing is trained.
UNTRAINED = frozenset({"MostPop"})


@dataclass(frozen=True)
class ModelShape:
    """The dimensions a model is built from.

    history_length: L, items of history a user brings.
    embedding_dim: d, size of item rows and of interests.
    hidden_size: width parameter of the network (ComiRec's `--hidden_size`).
    num_interest: K, interests a user.
    """

    history_length: int
    embedding_dim: int
    hidden_size: int
    num_interest: int

    def require_equal_sizes(self) -> None:
        """Refuse a hidden size that interests could not be compared with items in; UsageError."""
        if self.hidden_size != self.embedding_dim:
            raise UsageError(
                "hidden_size_must_match", hidden=self.hidden_size, embedding=self.embedding_dim
            )


class Network(Protocol):
    """interests(params, history [B, L, d], mask [B, L], key) -> interests [B, K, d], or [B, 1, d]
    by a model of a single interest.

    `key` is the step's JAX key in training, the only source of randomness, and None at inference,
    where a user's interests depend on nothing but parameters and history.
    """

    def __call__(
        self, params: Params, history: "Array", mask: "Array", key: "Array | None" = None
    ) -> "Array":
        """Return the interests."""


class AttentiveNetwork(Protocol):
    """As `Network`, and returns beside the interests the weights [B, K, L] that made each of them
    of the history, zero where there is no item.
    """

    def __call__(
        self, params: Params, history: "Array", mask: "Array", key: "Array | None" = None
    ) -> "tuple[Array, Array]":
        """Return interests and attention."""


class PrefixNetwork(Protocol):
    """interests(params, history [B, L, d], lengths [B, m], key) -> interests [B, m, K, d] of the
    first `lengths` items of each history, as `Network` makes them of these alone.
    """

    def __call__(
        self, params: Params, history: "Array", lengths: "Array", key: "Array | None" = None
    ) -> "Array":
        """Return the interests."""


Init: TypeAlias = "Callable[[Array, ModelShape], Params]"


@dataclass(frozen=True)
class Model:
    """A way of making interests: init(key, shape) -> params, a flat dict of float32 arrays, and
    the network that uses them.

    item_values(num_items, shape) -> [V, d] float32 by a model that knows what its items are worth
    and learns nothing of them; None where the item rows are learned.

    interests_and_attention: by a model whose attention learns, and could be penalised; None where
    there is none. (Capsules have none: their routing weights are constants to the gradient.)

    interests_of_prefixes: by a model that makes the interests of many prefixes of a history with
    less work than of as many histories; None where there is no such way.
    """

    init: Init
    interests: Network
    item_values: "Callable[[int, ModelShape], Array] | None" = None
    interests_and_attention: AttentiveNetwork | None = None
    interests_of_prefixes: PrefixNetwork | None = None

    def of_prefixes(
        self, params: Params, history: "Array", lengths: "Array", key: "Array | None" = None
    ) -> "Array":
        """Return interests [B, m, K, d], by any model, as `PrefixNetwork`."""
        if self.interests_of_prefixes is not None:
            return self.interests_of_prefixes(params, history, lengths, key)
        count = lengths.shape[1]
        mask = prefix_mask(lengths.reshape(-1), history.shape[1], history.dtype)
        made = self.interests(params, history.repeat(count, axis=0), mask, key)
        return made.reshape(-1, count, *made.shape[1:])

    def attend(
        self, params: Params, history: "Array", mask: "Array", key: "Array | None" = None
    ) -> "tuple[Array, Array]":
        """Return interests and attention, by a model that has one, as `AttentiveNetwork`."""
        assert self.interests_and_attention is not None
        return self.interests_and_attention(params, history, mask, key)

    def wrapped(
        self,
        interests: Network,
        attentive: AttentiveNetwork,
        of_prefixes: PrefixNetwork,
        init: "Init | None" = None,
    ) -> "Model":
        """Return the model with these networks, and parameters, in the place of its own; with
        `attentive` only where it has an attention. All else is its own.
        """
        return replace(
            self,
            init=init or self.init,
            interests=interests,
            interests_and_attention=self.interests_and_attention and attentive,
            interests_of_prefixes=of_prefixes,
        )


def prefix_mask(lengths: "Array", size: int, dtype: Any) -> "Array":
    """Return [..., size] for lengths [...]: 1 for the first so many places, 0 for those behind."""
    import numpy as np  # help does without

    places = np.arange(size, dtype=np.int32)
    return (lengths[..., None] > places).astype(dtype)


def canonical_name(name: str) -> str:
    """Return the registered spelling of `name`, whatever its case; UsageError with a suggestion."""
    by_folded = {known.casefold(): known for known in REGISTRY}
    if name.casefold() in by_folded:
        return by_folded[name.casefold()]
    raise UsageError(
        "unknown_model",
        name=name,
        suggestion=suggest(name, REGISTRY),
        known=", ".join(REGISTRY),
    )


def get_model(name: str) -> Model:
    """Return the model registered as `name`."""
    module = import_module(REGISTRY[canonical_name(name)])
    return Model(
        init=module.init,
        interests=module.interests,
        item_values=getattr(module, "item_values", None),
        interests_and_attention=getattr(module, "interests_and_attention", None),
        interests_of_prefixes=getattr(module, "interests_of_prefixes", None),
    )
