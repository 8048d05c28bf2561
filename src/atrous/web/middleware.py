"""ASGI middleware that checks hosts and origins, enforces the limits on request bodies, and adds security headers."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .config import ServerSettings
from .errors import RequestError

DRAIN_SECONDS = 5.0  # time for which the rest of a rejected upload is read and discarded
FORM_BYTES = 64 * 1024  # a form's bytes besides its files
MAX_JSON = 4_000_000  # bytes
LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Swagger UI sets styles of elements.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


class Middleware:
    """ASGI middleware around `app`."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings
        self._upload_bytes = 0  # of all uploads that are being received or wait
        self._hosts = {*LOOPBACK, *(urlsplit(origin).hostname for origin in settings.origins)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with an error."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        headers, root = Headers(scope=scope), scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        if root and f"{path}/".startswith(f"{root}/"):  # the proxy did not remove root_path, and the server added it
            scope, path = {**scope, "path": path}, path.removeprefix(root)
        receive, send = _draining(receive, _adding_headers(send, path))
        if path == "":  # the page's scripts have relative URLs
            await RedirectResponse(f"{root}/")(scope, receive, send)
            return
        counted = [0]
        try:
            self._check_host(headers)
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                self._check_origin(headers)
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}  # the server omits the body
            await self.app(scope, self._limited(headers, receive, counted), send)
        except RequestError as error:
            await JSONResponse({"error": error.detail}, error.status_code, error.headers)(scope, receive, send)
        finally:
            self._upload_bytes -= counted[0]

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self.settings.loopback and _netloc(f"//{host}") not in self._hosts:
            raise RequestError(
                403,
                f"Host {host[:80]!r}: expected localhost or 127.0.0.1, where this server listens; its --origin"
                " https://my.site allows another host",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        forwarded = headers.get("x-forwarded-host", "").split(",")
        hosts = {headers.get("host", ""), *(name.strip() for name in forwarded)} - {""}
        if origin is None or origin in self.settings.origins or _netloc(origin, port=True) in hosts:
            return
        raise RequestError(
            403, f"{origin[:80]}: expected this server's page; start the server with --origin to allow another"
        )

    def _limited(self, headers: Headers, receive: Receive, counted: list[int]) -> Receive:
        """Return `receive` with the limits on bytes and time."""
        kind = headers.get("content-type", "").lower()
        most = min(self.settings.max_bytes, MAX_JSON if "json" in kind else self.settings.max_bytes)
        too_long = RequestError(413, f"the upload is larger than {most / 1e6:g} MB; scale the image down first")
        most += FORM_BYTES if kind.startswith("multipart/") else 0
        length = headers.get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        seconds, deadline, done = self.settings.upload_seconds, 0.0, False

        async def limited() -> Message:
            nonlocal deadline, done
            if done:
                return await receive()
            deadline = deadline or time.monotonic() + seconds
            if announced > most:
                raise too_long
            try:
                async with asyncio.timeout(max(0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise RequestError(408, f"the upload took more than {seconds:g} s") from None
            size = len(message.get("body", b""))
            if self._upload_bytes + size > self.settings.upload_megabytes * 1e6:
                raise RequestError(503, "too many other uploads are waiting; ask again in 5 s", retry_after=5)
            self._upload_bytes += size
            counted[0] += size
            if counted[0] > most:
                raise too_long
            done = not message.get("more_body", False)
            return message

        return limited


def _netloc(url: str, *, port: bool = False) -> str | None:
    try:
        return urlsplit(url).netloc if port else urlsplit(url).hostname
    except ValueError:  # half an IPv6 address
        return None


def _adding_headers(send: Send, path: str) -> Send:
    added = {
        "content-security-policy": DOCS_POLICY if path == "/docs" else POLICY,
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store" if path.startswith("/api/") else "no-cache",
    }

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            more = [(key.encode(), value.encode()) for key, value in added.items()]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


def _draining(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return `receive` and `send` that close the connection after an error response to an unfinished upload.

    If the connection were closed at once, it would be reset before the client reads the error; if it stayed open, a
    rejected upload could continue forever. So the rest is read and discarded for up to DRAIN_SECONDS.
    """
    done = False  # whether the whole body was received
    early = False  # whether the response is an error before that

    async def receiving() -> Message:
        nonlocal done
        message = await receive()
        done = done or not message.get("more_body", False)
        return message

    async def sending(message: MutableMapping[str, Any]) -> None:
        nonlocal early
        if message["type"] == "http.response.start":
            early = message["status"] >= 400 and not done
            if early or message["status"] == 500:  # the server closes the connection after it
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif early and not message.get("more_body", False):
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    while not done:
                        await receiving()
            except TimeoutError:
                pass
            message = {"type": "http.response.body"}
        await send(message)

    return receiving, sending
