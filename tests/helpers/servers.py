"""Servers of small models: in a thread of this process, or in a process of their own."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from helpers.commands import ENVIRONMENT, reprise_command
from reprise.runs.folder import Source
from reprise.serving.server.app import create_app
from reprise.serving.server.limits import Limits
from reprise.serving.server.model import Loader, ServedModel
from reprise.serving.server.run import Server, bind, url_of
from reprise.serving.server.service import Service
from reprise.text.messages import Messages, Say, unsaid


def loader_of(run: Path, which: Source = "best", say: Say = unsaid) -> Loader:
    """Return what loads the model of a run."""
    return Loader(run, which, say, None)


def service_of(model: ServedModel, **limits: Any) -> Service:
    """Return the state of a server with limits."""
    return Service(model, Limits(**limits), Messages("en"))


@contextmanager
def serving(
    service: Service, tokens: tuple[str, ...] = (), local_only: bool = False
) -> Iterator[httpx.Client]:
    """Serve in a thread, and yield a client."""
    ready = threading.Event()
    server = Server(
        create_app(service, tokens, local_only), service.limits, service.messages, ready.set
    )
    with bind("127.0.0.1", 0) as opened:
        url = url_of(opened)
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        try:
            assert ready.wait(60)
            with httpx.Client(base_url=url, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def serving_process(
    run: Path | str, *options: object, cwd: Path | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run `reprise serve`, and yield the process, once it is ready, and its address."""
    command = reprise_command("serve", run, "--port", 0, *options)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=cwd)
    try:
        assert process.stderr is not None
        line = next(one for one in process.stderr if one.startswith("Ready"))
        yield process, next(word for word in line.split() if word.startswith("http://"))
    finally:
        process.kill()
        process.communicate()
