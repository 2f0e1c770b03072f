"""Limits of a connection, which the HTTP server below the application leaves open: time and size of
a request's head, connections, and answers that nobody reads.
"""

from asyncio import TimerHandle, Transport
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reprise.serving.server.errors import JSON, error_body
from reprise.serving.server.limits import MOST_HEAD, Limits
from reprise.text.messages import Messages, Phrase


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits of a connection. The time limit covers what the application
    cannot see: a head that comes too slowly, and an answer that the client does not read.
    """

    limits: Limits
    messages: Messages
    _timer: TimerHandle | None = None
    _head = 0  # bytes since the last request

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._end(429, Phrase("serve_connections", most=self.limits.max_connections), "1")
        else:
            self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and count those of a head."""
        waited = self._waits
        super().data_received(data)
        if not (waited and self._waits):  # the application has the request
            self._stop_timer()
            self._head = 0
            return
        self._head += len(data)
        if self._head > MOST_HEAD:
            self._end(431, Phrase("serve_head_too_large", most=MOST_HEAD))
        elif self._timer is None:
            self._start_timer()

    def on_response_complete(self) -> None:
        """Begin to wait for the client to read its answer."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._end(400, Phrase("serve_bad_http"))

    @property
    def _waits(self) -> bool:
        """Whether no request is with the application."""
        return self.cycle is None or self.cycle.response_complete

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.limits.timeout, self._too_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait for the client to read
        elif not self._head:  # a connection opened in advance, and never used
            self.transport.close()
        elif self._waits:
            self._end(408, Phrase("serve_timed_out", seconds=self.limits.timeout))

    def _end(self, status: int, phrase: Phrase, retry_after: str = "") -> None:
        """Answer with an error and close the connection."""
        if self.transport.is_closing():
            return
        body = error_body(phrase, self.messages)
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {JSON}",
            f"content-length: {len(body)}",
            *([f"retry-after: {retry_after}"] if retry_after else []),
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


def protocol_of(limits: Limits, messages: Messages) -> type[LimitedProtocol]:
    """Return the protocol with the limits and the language of a server."""
    return type("Protocol", (LimitedProtocol,), {"limits": limits, "messages": messages})
