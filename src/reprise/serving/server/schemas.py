"""The bodies of requests and answers, as checked and as stated in `/openapi.json`."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    create_model,
)

from reprise.serving.server.limits import Limits

_Finite = Field(strict=True, allow_inf_nan=False)
# An id as JSON has it: 5, 5.0 and "5" are one item.
ItemId = StrictStr | StrictInt | Annotated[float, _Finite] | StrictBool | None
# A time as JSON has it: seconds since 1970, or a text in ISO 8601.
Moment = StrictStr | StrictInt | Annotated[float, _Finite]
_TIMES = (
    "When the items of each history were, for a model with a time bias: seconds since 1970, or ISO "
    "8601 (UTC without an offset)."
)
MOST_WEIGHT = 1000.0
_LEAST_WEIGHT = float(np.finfo(np.float32).tiny)  # of one that is not switched off
MOST_DIVERSITY = 1000.0


def _whole(value: Any) -> Any:
    """Return 28 for 28.0: JSON has one kind of numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Strict(BaseModel):
    """A body without unknown fields: a misspelled one would be ignored in silence."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str | None
    categories: list[str]


class RankedItem(Item):
    """An item of a list. score and interest (from 0) are null for popular items; with `explain`,
    scores are those of each interest, because is the item of the history next to it, and memory,
    of a model that has one, is what of its score is the memory's.
    """

    score: float | None
    interest: int | None
    scores: list[float | None] | None = None
    because: str | None = None
    memory: float | None = None


class RankedList(BaseModel):
    """The answer to one history, best item first. time_bias, of a model that has one: what it read
    of the times: none, gaps or gaps+request.
    """

    items: list[RankedItem]
    unknown_items: int
    popular: bool
    time_bias: str | None = None


class Lists(BaseModel):
    """The answers to histories, in their order; unknown_filter_items: ids of `allow` and `exclude`
    that are unknown.
    """

    lists: list[RankedList]
    unknown_filter_items: int


class Vectors(BaseModel):
    """The interests of histories: numbers [histories, K, d]."""

    vectors: list[list[list[float]]]


class SimilarItem(Item):
    """An item with its cosine."""

    score: float


class SimilarItems(BaseModel):
    """An item, and others by descending cosine."""

    item: Item
    items: list[SimilarItem]


class FoundItems(BaseModel):
    """The first of the items that match a query, and how many match."""

    items: list[Item]
    matches: int


class About(BaseModel):
    """The served model."""

    model_config = ConfigDict(extra="allow")
    run: str
    checkpoint: str
    step: int
    model: str
    dataset: str
    items: int
    interests: int
    dim: int


class Health(BaseModel):
    """Whether the server works."""

    status: str


class Error(BaseModel):
    """What is wrong, and what to change."""

    code: str
    message: str


class Problem(BaseModel):
    """The one form of errors."""

    error: Error


@dataclass(frozen=True)
class Bodies:
    """The bodies of requests, with the limits of a server."""

    recommend: type[Any]
    vectors: type[Any]


def bodies_of(limits: Limits, interests: int) -> Bodies:
    """Return the bodies of requests within limits, for a model with so many interests."""
    history = Annotated[list[ItemId], Field(max_length=limits.max_history)]
    said = "Raw item ids, oldest first; unknown ones are skipped and counted."
    histories = Annotated[list[history], Field(max_length=limits.max_histories, description=said)]
    each = Annotated[list[Moment], Field(max_length=limits.max_history)]
    own = Annotated[list[each] | None, Field(max_length=limits.max_histories, description=_TIMES)]
    asked = Annotated[Moment | None, Field(description="When the lists are asked for.")]
    fields: dict[str, Any] = {
        "histories": (histories, ...),
        "times": (own, None),
        "request_time": (asked, None),
    }
    return Bodies(
        create_model("Recommend", __base__=_Strict, **fields, **_of_lists(limits, interests)),
        create_model("Histories", __base__=_Strict, **fields),
    )


def _of_lists(limits: Limits, interests: int) -> dict[str, Any]:
    """Return the fields, with their defaults, that say which lists are asked for."""
    each = _number(MOST_WEIGHT)
    weights = Field(
        min_length=interests,
        max_length=interests,
        description="Multiplies the vector of each interest; 0 switches one off.",
        json_schema_extra={"contains": {"type": "number", "minimum": _LEAST_WEIGHT}},
    )
    length = Field(strict=True, ge=1, le=limits.max_n, description="List length.")
    taken = "Subtracted from a score per item of its category listed before."
    return {
        "n": (Annotated[int, length, BeforeValidator(_whole)], 10),
        "diversity": (Annotated[_number(MOST_DIVERSITY), Field(description=taken)], 0.0),
        "exclude": _list_of(ItemId, "Items that no list has."),
        "allow": _list_of(ItemId, "The only items that lists have."),
        "categories": _list_of(StrictStr, "Lists have items of these categories."),
        "filter_seen": _switch("Whether to leave out the history's items."),
        "weights": (Annotated[list[each] | None, weights], None),  # type: ignore[valid-type]
        "explain": _switch("Whether to say how an item came into the list."),
    }


def _number(most: float) -> Any:
    return Annotated[float, Field(strict=True, ge=0, le=most, allow_inf_nan=False)]


def _list_of(kind: Any, description: str) -> tuple[Any, None]:
    return Annotated[list[kind] | None, Field(description=description)], None


def _switch(description: str) -> tuple[Any, bool]:
    return Annotated[StrictBool, Field(description=description)], False
