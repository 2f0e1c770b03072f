"""The routes of `/v1`, and what watches over the server: `/healthz`, `/readyz`, `/metrics`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from reprise.serving.server import metrics, schemas
from reprise.serving.server.errors import JSON
from reprise.serving.server.model import ServedModel
from reprise.serving.server.service import Service

_V1 = "/v1"
RECOMMEND = f"{_V1}/recommend"
WATCHED = ("/healthz", "/readyz")  # they say nothing of the model, and ask for no token
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_MOST_QUERY = 200  # characters
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": description}
    for status, description in {
        400: "The body is not JSON.",
        401: "No valid token.",
        408: "Not read or not answered within the time limit.",
        413: "The body is too large.",
        421: "The Host header names another machine.",
        422: "A field has an invalid value.",
        429: "Too many histories wait; Retry-After says when to try again.",
    }.items()
}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.Problem, "description": "The model does not know the item or category."}
}
_WITHOUT: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.Problem, "description": "The model knows no categories."}
}


def answered(facts: Any, model: ServedModel | None = None, status: int = 200) -> Response:
    """Return an answer in JSON; `model` is the one that gave it, named in a header."""
    body = _ENCODER.encode(facts).encode()
    headers = {} if model is None else {"Reprise-Checkpoint": model.about["checkpoint"]}
    return Response(body, status, headers, JSON)


async def listed(service: Service, body: Any) -> Response:
    """Return the answer to a body of `POST /v1/recommend`."""
    model = service.model
    queries = model.queries(body)
    answers = await service.batcher.ask(model.answers, queries)
    for history, one in zip(body.histories, answers, strict=True):
        service.metrics.answered(len(history), one.unknown, one.popular)
    made = list(map(model.catalogue.as_json, answers))
    unknown = queries[0].filter.unknown if queries else 0
    return answered({"lists": made, "unknown_filter_items": unknown}, model)


def api(service: Service, bodies: schemas.Bodies) -> APIRouter:
    """Return the routes of `/v1`, with the bodies of their requests."""
    router = APIRouter(prefix=_V1, responses=_PROBLEMS)
    _add_histories(router, service, bodies)
    _add_items(router, service)

    @router.get("/model", responses={200: {"model": schemas.About}})
    async def model() -> Response:
        """Return what is served, and the limits of requests."""
        now = service.model
        return answered({**now.about, "age_seconds": now.age, "limits": _limits(service)}, now)

    return router


def watched(service: Service) -> APIRouter:
    """Return the routes that say whether the server works."""
    router = APIRouter(responses=_of_gate(408, 421))
    health: Mapping[int | str, dict[str, Any]] = {
        200: {"model": schemas.Health},
        503: {"model": schemas.Health, "description": "Not now."},
    }

    @router.get("/healthz", responses=dict(health))
    async def healthz() -> Response:
        """Return whether the server works: 503 asks to start it anew."""
        return _health(not service.stuck, "stuck")

    @router.get("/readyz", responses=dict(health))
    async def readyz() -> Response:
        """Return whether requests are answered now."""
        return _health(service.ready, "stopping" if service.draining else "stuck")

    return router


def measured(service: Service) -> APIRouter:
    """Return the route of metrics."""
    router = APIRouter(responses=_of_gate(401, 408, 421))

    @router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def of_prometheus() -> Response:
        """Return metrics in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)

    return router


def _add_histories(router: APIRouter, service: Service, bodies: schemas.Bodies) -> None:
    async def recommend(body: Any) -> Response:
        """Return a list of items for each history."""
        return await listed(service, body)

    async def vectors(body: Any) -> Response:
        """Return the interests of each history; zeros where it has no known item."""
        model = service.model
        made = await service.batcher.ask(model.vectors, model.queries(body))
        return answered({"vectors": made}, model)

    # The bodies are made for this server's limits: types are given as values.
    recommend.__annotations__["body"] = bodies.recommend
    vectors.__annotations__["body"] = bodies.vectors
    answers = {200: {"model": schemas.Lists}, **_MISSING, **_WITHOUT}
    router.post(RECOMMEND.removeprefix(_V1), responses=answers)(recommend)
    router.post("/users/vectors", responses={200: {"model": schemas.Vectors}})(vectors)


def _add_items(router: APIRouter, service: Service) -> None:
    length = Annotated[int, Query(ge=1, le=service.limits.max_n, description="List length.")]
    words = Annotated[str, Query(min_length=1, max_length=_MOST_QUERY, description="Words.")]
    of_item = Annotated[str, Path(description="A raw id.")]

    async def items(query: str, n: int = 10) -> Response:
        """Return the items whose title has all words of the query, the most popular first; an item
        with this id comes before them. Where no item has a title, ids are searched so.
        """
        model = service.model
        (found,) = await service.batcher.ask(model.titles, [(query, n)])
        return answered(found, model)

    async def similar(item_id: str, n: int = 10) -> Response:
        """Return the items next to an item."""
        model = service.model
        (found,) = await service.batcher.ask(model.similar, [(model.number(item_id), n)])
        return answered(found, model)

    items.__annotations__ |= {"query": words, "n": length}
    similar.__annotations__ |= {"item_id": of_item, "n": length}
    router.get("/items", responses={200: {"model": schemas.FoundItems}})(items)
    router.get(
        "/items/{item_id:path}/similar",
        responses={**_MISSING, 200: {"model": schemas.SimilarItems}},
    )(similar)


def _of_gate(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _PROBLEMS[status] for status in statuses}


def _health(good: bool, otherwise: str) -> Response:
    return answered({"status": "ok" if good else otherwise}, status=200 if good else 503)


def _limits(service: Service) -> dict[str, Any]:
    limits = service.limits
    return {
        "max_n": limits.max_n,
        "max_history": limits.max_history,
        "max_histories": limits.max_histories,
        "max_body": limits.max_body,
        "timeout_seconds": limits.timeout,
    }
