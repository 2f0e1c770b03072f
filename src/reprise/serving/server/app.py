"""The application: routes, the page, and errors in one form."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from reprise import __version__
from reprise.serving.page.routes import OPEN as OPEN_PAGE
from reprise.serving.page.routes import mount
from reprise.serving.server import routes, schemas
from reprise.serving.server.direct import Direct
from reprise.serving.server.errors import JSON, RefusedError, error_body
from reprise.serving.server.gate import Gate, Guard
from reprise.serving.server.problems import of_request
from reprise.serving.server.service import Service

# What runs beside the server while it does, such as --watch.
Beside = Callable[[], AbstractAsyncContextManager[None]]

_OF_STATUS = {400: "serve_bad_json", 404: "serve_no_such_path", 405: "serve_no_such_method"}


def create_app(
    service: Service, tokens: tuple[str, ...] = (), local_only: bool = False, *beside: Beside
) -> Gate:
    """Return a server's application.

    Args:
        service: The server's state.
        tokens: Of which requests must show one; none: they need not.
        local_only: Whether requests must name this machine as their host.
        beside: What runs beside it.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        async with AsyncExitStack() as stack:
            for one in beside:
                await stack.enter_async_context(one())
            yield
        service.draining = True
        await service.batcher.stop()

    # The gate asks for the token; this states it in the OpenAPI document.
    stated = [Security(HTTPBearer(auto_error=False))] if tokens else []
    app = FastAPI(
        title="Reprise",
        version=__version__,
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    bodies = schemas.bodies_of(service.limits, service.model.about["interests"])
    app.include_router(routes.api(service, bodies), dependencies=stated)
    app.include_router(routes.measured(service), dependencies=stated)
    app.include_router(routes.watched(service))
    mount(app, service)
    _add_handlers(app, service)
    guard = Guard(tokens, local_only, frozenset(routes.WATCHED) | OPEN_PAGE)
    direct = Direct(app, service, bodies.recommend)
    return Gate(direct, service.limits, guard, service.metrics, service.messages)


def _add_handlers(app: FastAPI, service: Service) -> None:
    """Give every error the one form."""
    facts = {"max_n": service.limits.max_n, "interests": service.model.about["interests"]}

    def told(refusal: RefusedError) -> Response:
        body = error_body(refusal, service.messages)
        return Response(body, refusal.status, refusal.headers, JSON)

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return told(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return told(of_request(error.errors(), facts))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        key = _OF_STATUS.get(error.status_code, "serve_not_possible")
        values = {"path": request.url.path, "method": request.method, "reason": error.detail}
        headers = dict(error.headers or {})
        return told(RefusedError(error.status_code, key, headers, **values, place=0))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        return told(RefusedError(500, "serve_unexpected"))
