"""The application, and the server that runs it."""

import asyncio
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ..labelmap import label_png
from ..segmenter import Segmenter
from .api import create_api
from .config import ServerSettings
from .connections import ACCEPTED_AT_ONCE, limited_protocol
from .errors import RequestError
from .middleware import Middleware
from .queue import WorkQueue
from .service import Service, Sessions

STATIC = Path(__file__).parent / "static"
GRACE_SECONDS = 3.0  # for requests being computed when the server is asked to stop
SWEEP_SECONDS = 5.0
BACKLOG = 1024  # connections that the system accepts before the server does


class Application:
    """The page and the HTTP interface as an ASGI application, to be used as a context manager.

    Parameters
    ----------
    segmenter : Segmenter
        Its network, `max_side` and `threads` are used.
    settings : ServerSettings
    model : str
        Its name, reported to clients.
    """

    def __init__(self, segmenter: Segmenter, settings: ServerSettings, *, model: str = "model") -> None:
        self.settings = settings
        self.work = WorkQueue(settings.workers, settings.queue, settings.compute_seconds)
        self.sessions = Sessions(settings)
        self.service = Service(segmenter, model, settings)
        api = create_api(self.service, self.work, settings, self.sessions)
        _mount_pages(api)
        shared = CORSMiddleware(
            api, settings.origins, ("GET", "HEAD", "POST"), ("Content-Type",), expose_headers=("Retry-After",)
        )
        self._app = Middleware(shared, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        await self._app(scope, receive, send)

    def __enter__(self) -> "Application":
        """Return the application."""
        return self

    def __exit__(self, *_: object) -> None:
        """Refuse further requests."""
        self.work.close()

    async def warm_up(self) -> None:
        """Start a decoder process, and run network and CRF once: their first time is slow."""

        def segment() -> None:
            content = label_png(np.zeros((65, 65), np.uint8))
            self.service.segment(self.service.read_image(content, "warm-up"), self.service.parameters)

        with suppress(RequestError):
            await self.work.run(segment)


def _mount_pages(api: FastAPI) -> None:
    """Serve the page's files, and Swagger UI's from the package fastapi-offline."""
    found = find_spec("fastapi_offline")
    if found is not None and found.submodule_search_locations:
        swagger = Path(found.submodule_search_locations[0]) / "static"
        api.mount("/swagger", GZipMiddleware(StaticFiles(directory=swagger)))

    @api.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @api.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    @api.get("/api/docs", include_in_schema=False)
    async def old_docs() -> RedirectResponse:
        return RedirectResponse("../docs")

    api.mount("/static", GZipMiddleware(StaticFiles(directory=STATIC)))


class Server(uvicorn.Server):
    """Serves until Ctrl-C or SIGTERM, which it raises again in the end.

    Then requests that wait or still come are refused (503); those being computed have three seconds to be answered. A
    second Ctrl-C ends it at once.
    """

    def __init__(self, app: Application, *, root_path: str = "") -> None:
        settings = app.settings
        self._app = app
        self._protocol = limited_protocol(settings.connections, settings.header_seconds)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=self._protocol,
            ws="none",
            lifespan="off",
            backlog=ACCEPTED_AT_ONCE,
            log_level="error",
            access_log=False,
            root_path=root_path,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and warm up the decoder and the network."""
        asyncio.get_running_loop().set_exception_handler(_log_briefly)
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)  # asyncio has set what it accepts at once
        self._tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._app.warm_up())]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer or refuse all requests, and end."""
        work, loop = self._app.work, asyncio.get_running_loop()
        work.close()
        deadline = loop.time() + GRACE_SECONDS
        while work.running and not self.force_exit and loop.time() < deadline:
            await asyncio.sleep(0.02)
        work.abandon()
        await asyncio.sleep(0.1)  # for the answers to be sent
        for task in self._tasks:
            task.cancel()
        for connection in list(self._protocol.waiting):
            connection.transport.abort()
        await super().shutdown(sockets)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._app.sessions.sweep()


def _log_briefly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out that there are no file descriptors for new connections: asyncio repeats it all the time."""
    if "accept() out of system resource" not in str(context.get("message")):
        loop.default_exception_handler(context)
