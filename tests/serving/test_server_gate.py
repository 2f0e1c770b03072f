"""The gate before the application: who asks, the body's size, the time limit, clients that go."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from reprise.serving.server.gate import App, Gate, Guard, Message, Receive, Scope, Send
from reprise.serving.server.limits import Limits
from reprise.serving.server.metrics import Metrics
from reprise.text.messages import Messages

Headers = Sequence[tuple[bytes, bytes]]
TOKEN = "t" * 20


class Asked:
    """A request's answer, and how much of the request was read."""

    def __init__(self, *parts: Message) -> None:
        self.parts = list(parts)
        self.read = 0
        self.sent: list[Message] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        if self.read < len(self.parts):
            self.read += 1
            return self.parts[self.read - 1]
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def code(self) -> str:
        body = b"".join(one["body"] for one in self.sent[1:])
        assert dict(self.sent[0]["headers"])[b"content-length"] == str(len(body)).encode()
        return str(json.loads(body)["error"]["code"])


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def gate(app: App, guard: Guard | None = None, **limits: Any) -> tuple[Gate, Metrics]:
    metrics = Metrics()
    return Gate(app, Limits(**limits), guard or Guard(), metrics, Messages("en")), metrics


def scope(headers: Headers = (), path: str = "/x") -> Scope:
    return {"type": "http", "method": "POST", "path": path, "headers": list(headers)}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    message = await receive()
    assert not message["more_body"]
    length = str(len(message["body"])).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": message["body"]})


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


def test_gate_gives_the_application_the_whole_body() -> None:
    async def run() -> None:
        asked = Asked(part(b"ab", more=True), part(b"cd", more=True), part(b"e"))
        own, metrics = gate(echo)
        await own(scope(), asked.receive, asked.send)
        assert (asked.status, asked.sent[1]["body"]) == (200, b"abcde")
        labels = {"route": "other", "status": "200"}
        assert metrics.registry.get_sample_value("reprise_requests_total", labels) == 1

    asyncio.run(run())


@pytest.mark.parametrize("said", [None, b"40", b"9" * 400, b"nonsense"])
def test_gate_refuses_a_large_body_while_it_is_read(said: bytes | None) -> None:
    """However large the rest may be: here it has no end."""

    class Endless(Asked):
        held = 0

        async def receive(self) -> Message:
            if self.sent:  # what is read after the answer is thrown away
                return part(b"", more=False)
            self.held += 10
            return part(b"x" * 10, more=True)

    async def run() -> None:
        asked = Endless()
        headers = [] if said is None else [(b"content-length", said)]
        own, _ = gate(never, max_body=35)
        await own(scope(headers), asked.receive, asked.send)
        assert (asked.status, asked.code) == (413, "body_too_large")
        assert dict(asked.sent[0]["headers"])[b"connection"] == b"close"
        assert asked.held <= 40

    asyncio.run(run())


def test_gate_ends_bodies_that_come_too_slowly_and_work_that_takes_too_long() -> None:
    async def run() -> None:
        for asked in (Asked(part(b"a", more=True)), Asked(part(b"a"))):
            own, _ = gate(never, timeout=0.01)
            asked.gone = asyncio.Event()
            asyncio.get_running_loop().call_later(0.05, asked.gone.set)
            await own(scope(), asked.receive, asked.send)
            assert (asked.status, asked.code) == (408, "timed_out")

    asyncio.run(run())


def test_gate_ends_the_work_of_a_client_that_has_gone() -> None:
    async def run() -> None:
        ended = asyncio.Event()

        async def long(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                asked.gone.set()
                await asyncio.Event().wait()
            finally:
                ended.set()

        asked = Asked(part(b"a"))
        own, _ = gate(long)
        await own(scope(), asked.receive, asked.send)
        assert ended.is_set()
        assert asked.sent == []

    asyncio.run(run())


def test_gate_answers_what_the_application_did_not_expect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("x")

    async def run() -> None:
        asked = Asked(part(b""))
        own, _ = gate(fails)
        await own(scope(), asked.receive, asked.send)
        assert (asked.status, asked.code) == (500, "unexpected")

    asyncio.run(run())
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("guard", "headers", "path", "status"),
    [
        (Guard(), {}, "/x", 200),
        (Guard((TOKEN,)), {}, "/x", 401),
        (Guard((TOKEN,)), {"authorization": "Bearer no"}, "/x", 401),
        (Guard((TOKEN,)), {"authorization": f"Bearer {TOKEN}"}, "/x", 200),
        (Guard((TOKEN,), open_paths=frozenset({"/healthz"})), {}, "/healthz", 200),
        (Guard((TOKEN,), open_paths=frozenset({"/healthz"})), {}, "/healthz/", 401),
        (Guard((TOKEN,), open_paths=frozenset({"/", "/files/"})), {}, "/files/a.js", 200),
        (Guard((TOKEN,), open_paths=frozenset({"/", "/files/"})), {}, "/v1/model", 401),
        (Guard(local_only=True), {"host": "localhost:8000"}, "/x", 200),
        (Guard(local_only=True), {"host": "[::1]:8000"}, "/x", 200),
        (Guard(local_only=True), {"host": "evil.example"}, "/x", 421),
        (Guard(local_only=True), {}, "/x", 421),
    ],
)
def test_gate_lets_in_who_may_ask(
    guard: Guard, headers: dict[str, str], path: str, status: int
) -> None:
    async def run() -> None:
        asked = Asked(part(b"a"))
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        own, _ = gate(echo, guard)
        await own(scope(given, path), asked.receive, asked.send)
        assert asked.status == status

    asyncio.run(run())


def test_gate_trusts_no_header_given_twice() -> None:
    async def run() -> None:
        asked = Asked(part(b"a"))
        shown = [(b"authorization", f"Bearer {TOKEN}".encode())]
        own, _ = gate(echo, Guard((TOKEN,)))
        await own(scope([*shown, (b"authorization", b"Bearer x")]), asked.receive, asked.send)
        assert asked.status == 401

    asyncio.run(run())
