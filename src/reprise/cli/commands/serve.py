"""`reprise serve`: serve a stored model over HTTP."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from reprise.cli.help import Command
from reprise.cli.options import PATH, common_options, data_option, runs_option, which_option
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.serving.server.limits import Limits
from reprise.text.messages import Messages, choose_language

_STANDARD = Limits()
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _Finite(click.FloatRange):
    """A number within a range; NaN, which compares with nothing, is none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number; fail for any other value."""
        number = super().convert(value, param, ctx)
        return number if number == number else self.fail(f"{value!r}", param, ctx)


def _limit(name: str, kind: str = "N") -> Callable[[Decorated], Decorated]:
    """Return the option of a limit that is a whole number."""
    flag = f"--{name.replace('_', '-')}"
    return click.option(
        flag, type=click.IntRange(1, 10**9), default=getattr(_STANDARD, name), metavar=kind
    )


def _seconds(
    flag: str, low: float, high: float, default: float, kind: str = "SECONDS"
) -> Callable[[Decorated], Decorated]:
    """Return an option that is a time."""
    return click.option(flag, type=_Finite(low, high), default=default, metavar=kind)


@click.command(cls=Command)
@click.argument("run", type=PATH)
@which_option
@click.option("--host", default="127.0.0.1", metavar="ADDRESS")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, metavar="N")
@click.option("--token-file", type=PATH, metavar="FILE")
@click.option("--no-token", is_flag=True)
@click.option("--index", default="exact", metavar="exact|FOLDER")
@click.option("--watch", is_flag=True)
@_seconds("--watch-every", 0.1, 86400, 10.0)
@_limit("batch_size")
@_seconds("--batch-window", 0, 1000, 1000 * _STANDARD.batch_window, "MS")
@_limit("queue")
@_seconds("--timeout", 0.1, 3600, _STANDARD.timeout)
@_limit("max_body", "BYTES")
@_limit("max_histories")
@_limit("max_history")
@_limit("max_n")
@_limit("max_connections")
@runs_option
@data_option
@common_options
def serve(
    run: Path,
    which: Any,
    host: str,
    port: int,
    token_file: Path | None,
    no_token: bool,
    index: str,
    watch: bool,
    watch_every: float,
    batch_window: float,
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **of_limits: Any,
) -> None:
    """Serve RUN's stored model over HTTP."""
    end_at_once_on_interrupt()
    began = time.monotonic()
    _require_packages()
    from reprise.runs.manage.survey import path_of
    from reprise.runs.where import locator
    from reprise.serving.server import run as server
    from reprise.serving.server.app import create_app
    from reprise.serving.server.model import Loader
    from reprise.serving.server.service import Service
    from reprise.serving.server.tokens import is_loopback, read_tokens, require_protection
    from reprise.serving.server.watch import Watcher
    from reprise.show.run import Voice

    limits = Limits(batch_window=batch_window / 1000, **of_limits)
    tokens = () if token_file is None else read_tokens(token_file)
    require_protection(host, tokens, no_token)
    messages = Messages(choose_language(lang))
    say = Voice(messages, to_stderr=True).say
    path = path_of(run, runs_dir)
    folder = None if index == "exact" else Path(index)
    if watch and folder is not None:
        raise UsageError("serve_watch_index")
    if watch and not (path / "checkpoints").is_dir():
        raise UsageError("serve_watch_of_run", path=path)
    loader = Loader(path, which, say, locator(path, data_dir), folder)
    server.end_at_once_on_sigterm()
    with server.bind(host, port) as opened:
        service = Service(loader.load(loader.find()), limits, messages)
        beside = [Watcher(service, loader, watch_every, say).beside] if watch else []
        app = create_app(service, tokens, not (tokens or no_token), *beside)

        def ready() -> None:
            url, seconds = server.url_of(opened), time.monotonic() - began
            say("serve_ready", seconds=seconds, url=url, **service.model.about)
            if not (tokens or is_loopback(host)):
                say("serve_open", url=url)

        server.run(server.Server(app, limits, messages, ready), opened)
    say("serve_ended")


def _require_packages() -> None:
    """Raise UsageError where the extra `serve` is not installed."""
    try:
        import fastapi
        import httptools
        import prometheus_client
        import uvicorn
    except ImportError as error:
        values = {"what": "reprise serve", "reason": error, "extra": "serve"}
        raise UsageError("extra_missing", **values) from error
    del fastapi, httptools, prometheus_client, uvicorn
