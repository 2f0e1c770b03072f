"""Mount the page: its files at `/` and `/page`, its own routes under `/v1/page`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, Response
from pydantic import ConfigDict, StrictStr, create_model

from reprise.evaluation.metrics import METRICS
from reprise.serving.page.view import Asked, Page
from reprise.serving.server.errors import JSON, RefusedError
from reprise.serving.server.routes import answered
from reprise.serving.server.schemas import bodies_of
from reprise.text.messages import Language, Messages, catalogue

if TYPE_CHECKING:
    from reprise.serving.server.service import Service

_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_MOST_TEXT = 200  # characters of a user's id
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Nothing but the page's own files, and no text that becomes code.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_Input = TypeVar("_Input")


@dataclass(frozen=True)
class _File:
    content: bytes
    type: str


def _files() -> dict[str, _File]:
    """Return the page's files by path: those of `static`, and the words in each language."""
    folder = Path(__file__).with_name("static")
    files = {
        f"/page/{path.name}": _File(path.read_bytes(), _TYPES[path.suffix])
        for path in folder.iterdir()
        if path.suffix in _TYPES
    }
    for language in _LANGUAGES:
        words = json.dumps(_words(Messages(language)), ensure_ascii=False)
        files[f"/page/words.{language}.json"] = _File(words.encode(), JSON)
    return {"/": files.pop("/page/index.html"), **files}


def _words(messages: Messages) -> dict[str, str]:
    """Return what the page says in a language, with the names of metrics."""
    named = {metric.name: messages.metric(metric.name, metric.label) for metric in METRICS}
    return {**named, **catalogue(messages.language)["page"]}


_FILES = _files()
OPEN = frozenset(_FILES)  # paths that answer without a token, see `gate.Guard`: they hold no data


def mount(app: FastAPI, service: "Service") -> None:
    """Add the page to the application of a server."""

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return _response(_FILES["/"])

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        path = f"/page/{name}"
        if path not in _FILES:
            raise RefusedError(404, "serve_no_such_path", path=path)
        return _response(_FILES[path])

    _add_routes(app, service)


def _add_routes(app: FastAPI, service: "Service") -> None:
    recommend = bodies_of(service.limits, service.model.about["interests"]).recommend
    fields: dict[str, Any] = {"request": (recommend, ...), "user": (StrictStr | None, None)}
    body_type = create_model("View", __config__=ConfigDict(extra="forbid"), **fields)
    pages: list[Page] = [Page(service.model)]

    def page() -> Page:
        """Return the page of the model that is served now."""
        if pages[0].model is not service.model:
            pages[0] = Page(service.model)
        return pages[0]

    async def ask(work: Callable[[Sequence[_Input]], list[Any]], asked: Sequence[_Input]) -> Any:
        return await service.batcher.ask(work, asked)

    @app.get("/v1/page", include_in_schema=False)
    async def about() -> Response:
        """Return what the page must know before it shows a history."""
        (found,) = await ask(page().about, [None])
        missing = found["users_missing"]
        if missing is not None:
            missing = service.messages.text(missing.key, **missing.values)
        limits = {"n": min(service.model.about["cutoff"], service.limits.max_n)}
        limits |= {"max_history": service.limits.max_history}
        return answered({**found, "users_missing": missing, **limits})

    @app.get("/v1/page/users", include_in_schema=False)
    async def users(query: str = "") -> Response:
        """Return test users whose id contains a text."""
        (found,) = await ask(page().found_users, [query[:_MOST_TEXT]])
        return answered(found)

    @app.get("/v1/page/next-user", include_in_schema=False)
    async def next_user(after: str = "") -> Response:
        """Return the test user after one."""
        (found,) = await ask(page().next_user, [after])
        if found is None:
            raise RefusedError(404, "serve_user_unknown", user=after)
        return answered(found)

    @app.get("/v1/page/users/{user_id:path}", include_in_schema=False)
    async def user(user_id: str) -> Response:
        """Return a test user."""
        (found,) = await ask(page().user, [user_id])
        if found is None:
            raise RefusedError(404, "serve_user_unknown", user=user_id)
        return answered(found)

    async def view(body: Any) -> Response:
        """Return what is shown of histories, each beside the held-out items of the same user."""
        now = page()
        row = None
        if body.user is not None:
            (row,) = await ask(now.rows, [body.user])
            if row is None:
                raise RefusedError(404, "serve_user_unknown", user=body.user)
        asked = [Asked(query, row) for query in now.model.queries(body.request)]
        return answered({"views": await ask(now.views, asked)})

    view.__annotations__["body"] = body_type
    app.post("/v1/page/view", include_in_schema=False)(view)


def _response(file: _File) -> Response:
    return Response(file.content, headers=_HEADERS, media_type=file.type)
