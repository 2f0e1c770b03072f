"""Lists without the steps of the framework, which would take longer than the search of an index."""

import json
from typing import Any, NamedTuple

from pydantic import BaseModel

from reprise.serving.server.gate import App, Receive, Scope, Send, given
from reprise.serving.server.routes import RECOMMEND, listed
from reprise.serving.server.service import Service

_JSON = (b"application/json", b"application/json; charset=utf-8")


class _Route(NamedTuple):
    """What the gate reads of a route."""

    path_format: str


class Direct:
    """Answers a valid `POST /v1/recommend` itself. The framework gets every other request, also one
    of this path that is not valid: what is wrong with it is found and said in one place.
    """

    def __init__(self, app: App, service: Service, body: type[BaseModel]) -> None:
        """Create it before an application; `body` is that of the request."""
        self._app = app
        self._service = service
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI) whose body comes in one message."""
        if not _is_asked(scope):
            await self._app(scope, receive, send)
            return
        raw = (await receive()).get("body", b"")
        body = self._valid(raw)
        if body is None:
            await self._app(scope, given(raw, receive), send)
            return
        scope["route"] = _Route(RECOMMEND)
        await (await listed(self._service, body))(scope, receive, send)

    def _valid(self, raw: bytes) -> Any:
        """Return the body that a request holds, None where it is not valid."""
        try:
            return self._body.model_validate(json.loads(raw))
        except (ValueError, RecursionError):
            return None


def _is_asked(scope: Scope) -> bool:
    """Return whether a request is for lists, in JSON."""
    if scope["type"] != "http" or scope["path"] != RECOMMEND or scope["method"] != "POST":
        return False
    kinds = [value.lower() for name, value in scope["headers"] if name == b"content-type"]
    return len(kinds) == 1 and kinds[0] in _JSON
