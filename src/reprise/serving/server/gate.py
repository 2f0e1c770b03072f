"""The gate that every request passes: who asks, a body of limited size, and a limit of time.

It is plain ASGI, outside the application: a body that is too large is refused while it is read, and
whatever the application does ends with the time limit or when the client has gone.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from reprise.serving.server.errors import JSON, RefusedError, error_body
from reprise.serving.server.limits import Limits
from reprise.serving.server.metrics import Metrics
from reprise.serving.server.tokens import holds_token, is_loopback_host
from reprise.text.messages import Messages

_LOG = logging.getLogger(__name__)
_LINGER = 2.0  # seconds in which the rest of a refused body is read, so that its sender can listen

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Guard:
    """Who may ask.

    Attributes:
        tokens: Of which a request must show one; none: no token is asked for.
        local_only: Whether requests must name this machine as their host.
        open_paths: Paths that answer without a token, such as health checks; one that ends in /
            (but for / itself) stands for all below it.
    """

    tokens: Sequence[str] = ()
    local_only: bool = False
    open_paths: frozenset[str] = frozenset()

    def check(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Raise RefusedError for a request that may not ask."""
        if self.local_only and not is_loopback_host(_header(headers, b"host")):
            raise RefusedError(421, "serve_other_host")
        if self.tokens and not self._is_open(path):
            shown = _header(headers, b"authorization")
            if not holds_token(shown, self.tokens):
                raise RefusedError(401, "serve_no_token", {"WWW-Authenticate": "Bearer"})

    def _is_open(self, path: str) -> bool:
        folders = (one for one in self.open_paths if one.endswith("/") and one != "/")
        return path in self.open_paths or any(path.startswith(one) for one in folders)


class Gate:
    """The gate before an application."""

    def __init__(
        self, app: App, limits: Limits, guard: Guard, metrics: Metrics, messages: Messages
    ) -> None:
        self._app = app
        self._limits = limits
        self._guard = guard
        self._metrics = metrics
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, answer = time.monotonic(), _Answer(send)
        try:
            async with asyncio.timeout(self._limits.timeout):
                self._guard.check(scope["path"], scope["headers"])
                body = await self._read(scope["headers"], receive)
                if body is not None:
                    await _until_gone(self._app(scope, given(body, receive), answer.send), receive)
        except TimeoutError:
            seconds = self._limits.timeout
            await self._refuse(
                answer, receive, RefusedError(408, "serve_timed_out", seconds=seconds)
            )
        except RefusedError as refusal:
            await self._refuse(answer, receive, refusal)
        except Exception:
            _LOG.exception("Unexpected error in %s %s", scope["method"], scope["path"])
            await self._refuse(answer, receive, RefusedError(500, "serve_unexpected"))
        route = getattr(scope.get("route"), "path_format", "other")
        self._metrics.requests.labels(route, answer.status).inc()
        self._metrics.latency.labels(route).observe(time.monotonic() - began)

    async def _read(self, headers: Sequence[tuple[bytes, bytes]], receive: Receive) -> bytes | None:
        """Return the body, None where the client has gone; raise RefusedError as soon as it is
        known to be too large.
        """
        most = self._limits.max_body
        said = _header(headers, b"content-length")
        if said is not None and said.isdigit() and (len(said) > 18 or int(said) > most):
            raise RefusedError(413, "serve_body_too_large", most=most)
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise RefusedError(413, "serve_body_too_large", most=most)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _refuse(self, answer: "_Answer", receive: Receive, refusal: RefusedError) -> None:
        """Answer with an error, if nothing was answered yet. The rest of an unread body is read for
        a moment: closed at once, the connection would be reset before its sender reads the answer.
        """
        if answer.status:
            return
        body = error_body(refusal, self._messages)
        closing = {"Connection": "close"} if refusal.status in (408, 413) else {}
        headers = {
            "Content-Type": JSON,
            "Content-Length": str(len(body)),
            **refusal.headers,
            **closing,
        }
        await answer.send(
            {
                "type": "http.response.start",
                "status": refusal.status,
                "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            }
        )
        await answer.send({"type": "http.response.body", "body": body, "more_body": bool(closing)})
        if closing:
            await _discard(receive)
            await answer.send({"type": "http.response.body", "body": b"", "more_body": False})


class _Answer:
    """Sends an answer and keeps its status, 0 before one is sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return a header's value; one that is given twice is no value to trust."""
    found = [value for key, value in headers if key == name]
    return found[0] if len(found) == 1 else None


def given(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read, and then what follows it."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return parts.pop() if parts else await receive()

    return given


async def _until_gone(answering: Any, receive: Receive) -> None:
    """Await the application; cancel it when the client has gone."""
    work, gone = asyncio.ensure_future(answering), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard(receive: Receive) -> None:
    try:
        async with asyncio.timeout(_LINGER):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
