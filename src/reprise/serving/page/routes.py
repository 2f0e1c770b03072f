"""Mount the page: its files at `/`, its own routes under `/v1/page`."""

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

if TYPE_CHECKING:
    from reprise.serving.server.service import Service

OPEN: frozenset[str] = frozenset({"/"})  # paths that answer without a token: they hold no data


def mount(app: FastAPI, service: "Service") -> None:
    """Add the page to the application of a server."""

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/v1/model")
