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

# One line per model: the module that implements it. Modules load on demand, so that listing the
# names does not import JAX.
REGISTRY = {
    "ComiRec-DR": "reprise.models.capsules",
    "ComiRec-SA": "reprise.models.attention",
    "MIND": "reprise.models.mind",
    "DNN": "reprise.models.pooling",
    "GRU4REC": "reprise.models.recurrent",
    "SASRec": "reprise.models.sasrec",
    "Queries": "reprise.models.queries",
    "MostPop": "reprise.models.popularity",
}
# Models without training.
UNTRAINED = frozenset({"MostPop"})
# Models with one interest, whatever number is asked for.
SINGLE = frozenset({"DNN", "GRU4REC", "SASRec", "MostPop"})
# Models that read an encoder: the number of its blocks where a configuration has none.
LEAST_LAYERS = {"SASRec": 2}


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a model.

    Attributes:
        history_length: L, maximum history length.
        embedding_dim: d, size of item vectors and interests.
        hidden_size: Hidden size of the network (ComiRec's `--hidden_size`).
        num_interest: K, interests per user.
    """

    history_length: int
    embedding_dim: int
    hidden_size: int
    num_interest: int

    def require_equal_sizes(self) -> None:
        """Raise UsageError unless the hidden size equals d, as comparing with items requires."""
        if self.hidden_size != self.embedding_dim:
            raise UsageError(
                "hidden_size_must_match", hidden=self.hidden_size, embedding=self.embedding_dim
            )


class Network(Protocol):
    """interests(params, history [B, L, d], mask [B, L], key) -> interests [B, K, d], or [B, 1, d]
    for a model with a single interest.

    `key` is the step's JAX key in training, the only source of randomness, and None at inference,
    where interests depend on parameters and history alone.
    """

    def __call__(
        self, params: Params, history: "Array", mask: "Array", key: "Array | None" = None
    ) -> "Array":
        """Return the interests."""


class AttentiveNetwork(Protocol):
    """Like `Network`, but also returns the attention weights [B, K, L] over the history, zero on
    padding.
    """

    def __call__(
        self, params: Params, history: "Array", mask: "Array", key: "Array | None" = None
    ) -> "tuple[Array, Array]":
        """Return interests and attention."""


class PrefixNetwork(Protocol):
    """interests(params, history [B, L, d], lengths [B, m], key) -> interests [B, m, K, d] of the
    first `lengths` items of each history, equal to `Network` on these items alone.
    """

    def __call__(
        self, params: Params, history: "Array", lengths: "Array", key: "Array | None" = None
    ) -> "Array":
        """Return the interests."""


Init: TypeAlias = "Callable[[Array, ModelShape], Params]"
# Returns the model that reads histories at times [B, L + 1] int32, as `data.moments` has them.
Timed: TypeAlias = "Callable[[Array], Model]"
# Returns the model that packs histories as [R, L] int32 says (`training.packing`).
Packing: TypeAlias = "Callable[[Array], Model]"


@dataclass(frozen=True)
class Model:
    """A model: init(key, shape) -> params, a flat dict of float32 arrays, and its network.

    Attributes:
        init: Initialises the parameters.
        interests: The network.
        item_values: item_values(rank, shape) -> [V, d] float32, for models with fixed item values
            that follow from the items' ranks [V] by popularity; None if the item rows are learned.
        interests_and_attention: For models with trainable attention, which can be penalised;
            otherwise None. (Capsules have none: their routing weights get no gradient.)
        interests_of_prefixes: For models that compute many prefixes of a history faster than as
            many histories; otherwise None.
        timed: For models that read the times of a history; otherwise None. See `at`.
        packing: For models that compute less where histories are packed; otherwise None. See
            `packed`.
    """

    init: Init
    interests: Network
    item_values: "Callable[[Array, ModelShape], Array] | None" = None
    interests_and_attention: AttentiveNetwork | None = None
    interests_of_prefixes: PrefixNetwork | None = None
    timed: "Timed | None" = None
    packing: "Packing | None" = None

    def at(self, times: "Array | None") -> "Model":
        """Return the model whose networks read histories at these times (`data.moments`); the model
        itself if there are none, or it does not read them.
        """
        return self if times is None or self.timed is None else self.timed(times)

    def packed(self, places: "Array | None") -> "Model":
        """Return the model whose `of_prefixes` packs histories; the model itself if they are not
        packed.
        """
        return self if places is None or self.packing is None else self.packing(places)

    def of_prefixes(
        self, params: Params, history: "Array", lengths: "Array", key: "Array | None" = None
    ) -> "Array":
        """Return interests [B, m, K, d] like `PrefixNetwork`, for any model."""
        if self.interests_of_prefixes is not None:
            return self.interests_of_prefixes(params, history, lengths, key)
        count = lengths.shape[1]
        mask = prefix_mask(lengths.reshape(-1), history.shape[1], history.dtype)
        made = self.interests(params, history.repeat(count, axis=0), mask, key)
        return made.reshape(-1, count, *made.shape[1:])

    def attend(
        self, params: Params, history: "Array", mask: "Array", key: "Array | None" = None
    ) -> "tuple[Array, Array]":
        """Return interests and attention like `AttentiveNetwork`; the model must have attention."""
        assert self.interests_and_attention is not None
        return self.interests_and_attention(params, history, mask, key)

    def wrapped(
        self,
        interests: Network,
        attentive: AttentiveNetwork,
        of_prefixes: PrefixNetwork,
        init: "Init | None" = None,
        *,
        wrap: "Callable[[Model], Model]",
    ) -> "Model":
        """Return the model with its networks (and `init`, if given) replaced; `attentive` is used
        only if the model has attention. `wrap` wraps the same model at given times, or packed.
        """
        timed, packing = self.timed, self.packing
        return replace(
            self,
            init=init or self.init,
            interests=interests,
            interests_and_attention=self.interests_and_attention and attentive,
            interests_of_prefixes=of_prefixes,
            timed=None if timed is None else lambda times: wrap(timed(times)),
            packing=None if packing is None else lambda places: wrap(packing(places)),
        )


def prefix_mask(lengths: "Array", size: int, dtype: Any) -> "Array":
    """Return the mask [..., size] of lengths [...]: 1 for the first `lengths` positions, then 0."""
    import numpy as np  # help does without

    places = np.arange(size, dtype=np.int32)
    return (lengths[..., None] > places).astype(dtype)


def canonical_name(name: str) -> str:
    """Return the registered spelling of `name`, ignoring case; raise UsageError if unknown."""
    by_folded = {known.casefold(): known for known in REGISTRY}
    if name.casefold() in by_folded:
        return by_folded[name.casefold()]
    raise UsageError(
        "unknown_model",
        name=name,
        suggestion=suggest(REGISTRY, name),
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
