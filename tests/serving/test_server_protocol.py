"""Limits of connections: slow and large heads, too many connections, answers nobody reads."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from reprise.serving.server.gate import Receive, Scope, Send
from reprise.serving.server.limits import MOST_HEAD, Limits
from reprise.serving.server.protocol import protocol_of
from reprise.text.messages import Messages

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 32 * 2**20


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with as many bytes as the path says."""
    size = int(scope["path"].strip("/") or 2)
    headers = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"o" * size})


def served(use: Callable[[Connect, ServerState], Awaitable[None]], **limits: Any) -> None:
    """Serve the app above to what connects."""

    async def run() -> None:
        kind = protocol_of(Limits(**limits), Messages("en"))
        config = uvicorn.Config(app, http=kind, ws="none", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: kind(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        async with server:
            await use(lambda: asyncio.open_connection("127.0.0.1", port), state)

    asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any] | None]:
    """Return status and error of all that a server answers until it closes; 0 for nothing."""
    got = await asyncio.wait_for(reader.read(), 30)
    if not got:
        return 0, None
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize("sent", [GET[:20], b"\r\n"])
@pytest.mark.parametrize("before", [0, 2])
def test_protocol_ends_a_head_that_comes_too_slowly(sent: bytes, before: int) -> None:
    """On a new connection, and after requests that were answered."""

    async def use(connect: Connect, state: ServerState) -> None:
        reader, writer = await connect()
        for _ in range(before):
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\noo")).startswith(b"HTTP/1.1 200")
        writer.write(sent)
        status, error = await answer(reader)
        assert status == 408
        assert error is not None
        assert error["code"] == "timed_out"
        writer.close()

    served(use, timeout=0.05)


def test_protocol_closes_an_unused_connection_without_a_word() -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        reader, writer = await connect()
        assert await answer(reader) == (0, None)
        writer.close()

    served(use, timeout=0.05)


@pytest.mark.parametrize("line", [b"x: y\r\n", b"x: " + b"y" * 9000 + b"\r\n"])
def test_protocol_refuses_a_large_head(line: bytes) -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        reader, writer = await connect()
        writer.write(GET[:-2])
        try:
            for _ in range(4 * MOST_HEAD // len(line)):
                writer.write(line)
                await writer.drain()
            status, error = await answer(reader)
            assert status == 431
            assert error is not None
            assert error["code"] == "head_too_large"
        except ConnectionError:  # it ended while more was on its way
            pass
        writer.close()

    served(use)


def test_protocol_answers_what_is_not_http() -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        reader, writer = await connect()
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        status, error = await answer(reader)
        assert status == 400
        assert error is not None
        assert error["code"] == "bad_http"
        writer.close()

    served(use)


def test_protocol_refuses_connections_beyond_the_limit() -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        kept = [await connect() for _ in range(3)]
        reader, writer = await connect()
        status, error = await answer(reader)
        assert status == 429
        assert error is not None
        assert error["code"] == "connections"
        writer.close()
        for own, ours in kept:  # the others are answered as ever
            ours.write(GET)
            assert (await own.readuntil(b"\r\n\r\noo")).startswith(b"HTTP/1.1 200")
            ours.close()

    served(use, max_connections=3)


def test_protocol_ends_a_connection_whose_answer_nobody_reads() -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        _reader, writer = await connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET.replace(b"/ ", f"/{LARGE} ".encode()))
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if not state.connections:
                break
        assert not state.connections
        writer.close()

    served(use, timeout=0.2)


def test_protocol_answers_requests_one_after_the_other() -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        reader, writer = await connect()
        writer.write(GET * 3)  # pipelined
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\noo")).startswith(b"HTTP/1.1 200")
        writer.close()

    served(use)


def test_protocol_ends_the_request_of_a_client_that_closes_its_half() -> None:
    async def use(connect: Connect, state: ServerState) -> None:
        reader, writer = await connect()
        writer.write(GET[:20])
        writer.write_eof()
        assert await answer(reader) == (0, None)
        assert not state.connections
        writer.close()

    served(use)
