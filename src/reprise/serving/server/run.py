"""Run a server until it is asked to stop: then it stops accepting, and answers what it has."""

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvicorn

from reprise.errors import UsageError
from reprise.runs.signals import StopRequest, stop_requests
from reprise.serving.server.gate import Gate
from reprise.serving.server.limits import Limits
from reprise.serving.server.protocol import protocol_of
from reprise.text.messages import Messages

_KEEP_ALIVE = 75  # seconds that an idle connection is kept; proxies keep theirs for 60
_TURN = 0.0005  # seconds of Python after which another thread may go on
_LAST_ANSWERS = 5  # seconds beyond the time limit, in which answers are sent


def end_at_once_on_sigterm() -> None:
    """Let SIGTERM end the process with 0 while nothing is served yet. The first process of a
    container would not see it otherwise.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def bind(host: str, port: int) -> socket.socket:
    """Bind an address, so that one that cannot be had is refused before a model is loaded. The
    socket does not listen yet: clients are refused until the server is ready.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as closing:
            opened = closing.enter_context(socket.socket(family, kind, protocol))
            if sys.platform != "win32":  # a server that was killed can be started again at once
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            closing.pop_all()
            return opened
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError("serve_not_bound", host=host, port=port, reason=reason) from error


def url_of(opened: socket.socket) -> str:
    """Return the address of a bound socket as a URL."""
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(server: "Server", opened: socket.socket) -> None:
    """Serve on a bound socket until SIGTERM, SIGHUP or Ctrl-C; a second one ends the process."""
    _log_plainly()
    # What was loaded stays: no collection needs to look at millions of objects again.
    gc.collect()
    gc.freeze()
    # The thread that computes gives way to the one that reads and answers requests, and gets its
    # turn back: each waits for the other less.
    sys.setswitchinterval(_TURN)
    with stop_requests() as stop:
        server.stop = stop
        server.run(sockets=[opened])


class Server(uvicorn.Server):
    """uvicorn's server with limits of connections, and with this program's signals: uvicorn raises
    them again at its end, and so would not exit with 0.

    Attributes:
        stop: The request to stop: to accept no more, and to answer what has begun.
    """

    def __init__(
        self,
        app: Gate,
        limits: Limits,
        messages: Messages,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Create a server; `ready` is called when requests are answered."""
        config = uvicorn.Config(
            app,
            http=protocol_of(limits, messages),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=int(limits.timeout) + _LAST_ANSWERS,
        )
        super().__init__(config)
        self.stop = StopRequest()
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals as they are."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop."""
        return await super().on_tick(counter) or bool(self.stop)


def _log_plainly() -> None:
    """Let the libraries log errors to stderr, a plain line each, without colours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("uvicorn", "reprise.serving"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.ERROR if name == "uvicorn" else logging.WARNING)
