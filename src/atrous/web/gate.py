"""What stands before the page: which of gradio's routes are open, and what may be sent to them.

Gradio serves a great deal beside a page: it fetches addresses for its clients, runs its functions without the queue
and serves files. Here only what the page itself asks for is let through, and only for files that were uploaded.
"""

import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .lingering import lingering
from .refused import Refused
from .settings import ServerSettings
from .work import WorkQueue

_EXACT = {
    "GET": {"/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/gradio_api/queue/data"}
    | {"/gradio_api/upload_progress", "/gradio_api/startup-events"},
    "POST": {"/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/cancel", "/gradio_api/reset"},
}
_READ = ("GET", "HEAD")
_API = {"/api/segment": ("POST",), "/api/health": _READ, "/api/docs": _READ, "/api/openapi.json": _READ}
_BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/", "/gradio_api/file=")
_FILE = "/gradio_api/file="
_STREAMS = ("/gradio_api/heartbeat/", "/gradio_api/queue/data")
SLACK = 64 * 1024
LONGEST_EVENT = 256 * 1024

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " font-src 'self' data:; worker-src 'self' blob:;"
    " object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware.

    Parameters
    ----------
    app : ASGI application
    settings : ServerSettings
    folder : Path
        Where uploads and results lie.
    work : WorkQueue
        What the application computes with.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, folder: Path, work: WorkQueue) -> None:
        self.app = app
        self.settings = settings
        self.folder = folder.resolve()
        self.work = work
        self._streams: set[asyncio.Task[Any]] = set()

    def end_streams(self) -> None:
        """End what an open page listens to, which has no end of its own."""
        for task in tuple(self._streams):
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        scope = _without_twice(scope)
        receive, send = lingering(receive, _with_headers(send, self._readable_for(scope)))
        if scope["method"] == "OPTIONS" and _path(scope) in _API:
            await Response(status_code=204, headers={"Allow": ", ".join(_API[_path(scope)])})(scope, receive, send)
            return
        if _path(scope) == "":  # the page finds its scripts below its own address
            await RedirectResponse(f"{scope['root_path']}/")(scope, receive, send)
            return
        try:
            receive = await self._checked(scope, receive)
        except Refused as error:
            headers = {"Allow": ", ".join(_API[_path(scope)])} if error.status == 405 else None
            await JSONResponse({"error": error.message}, error.status, headers)(scope, receive, send)
            return
        try:
            if _path(scope).startswith(_STREAMS):
                await self._streamed(scope, receive, send)
            elif scope["method"] == "HEAD" and _path(scope) in _API:
                await self.app({**scope, "method": "GET"}, receive, send)  # whoever sends it leaves the body out
            else:
                await self.app(scope, receive, send)
        except Refused as error:  # an upload grew too long while it was read
            await JSONResponse({"error": error.message}, error.status)(scope, receive, send)

    async def _streamed(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        ended = False

        async def sending(message: Message) -> None:
            nonlocal ended
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except asyncio.CancelledError:
            if not self.work.closed:
                raise
            task.uncancel()
            if not ended:  # where the stream is compressed, its end is sent all the same
                await send({"type": "http.response.body"})
        finally:
            self._streams.discard(task)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        method, path = scope["method"], _path(scope)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if method not in ("GET", "HEAD", "OPTIONS"):
            self._check_origin(headers)
        if path.startswith("/api/") or path == "/api":
            self._check_api(method, path)
            return receive
        self._check_path(method, path)
        if path == "/gradio_api/upload":
            return self._limited(headers, receive)
        if method == "POST":
            return await self._checked_event(receive)
        return receive

    def _check_origin(self, headers: MutableMapping[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self.settings.origins:
            return
        try:
            # A proxy may write its own Host; no script of another page can write this header without being asked.
            own = urlsplit(origin).netloc in _hosts(headers)
        except ValueError:  # half an IPv6 address
            own = False
        if not own:
            raise Refused(403, f"{origin[:80]}: pages from there may not post here; the server's --origin allows them")

    def _readable_for(self, scope: Scope) -> dict[str, str]:
        """Return the headers that let scripts of an allowed origin call the HTTP interface and read its answers."""
        if not self.settings.origins or _path(scope) not in _API:
            return {}
        origin = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"origin"), "")
        if origin not in self.settings.origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ", ".join(_API[_path(scope)]),
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Expose-Headers": "Retry-After",
        }

    def _check_api(self, method: str, path: str) -> None:
        # Whatever the interface does not know would go on to gradio.
        if path not in _API:
            raise Refused(404, f"no such address here; expected one of {', '.join(_API)}")
        if method not in _API[path]:
            raise Refused(405, f"{method[:20]}: not here; expected {' or '.join(_API[path])}")

    def _check_path(self, method: str, path: str) -> None:
        if path in _EXACT.get("GET" if method == "HEAD" else method, ()):
            return
        if method not in ("GET", "HEAD") or not path.startswith(_BELOW):
            raise Refused(404, "no such page here")
        if path.startswith(_FILE):
            self._check_file(path.removeprefix(_FILE), 404)

    def _check_file(self, name: str, status: int) -> None:
        try:
            inside = Path(name).is_absolute() and Path(name).resolve().is_relative_to(self.folder)
        except (OSError, ValueError, RuntimeError):  # null bytes, loops of links
            inside = False
        if not inside:
            raise Refused(status, "no such file here")

    def _limited(self, headers: MutableMapping[str, str], receive: Receive) -> Receive:
        allowed = self.settings.max_bytes + SLACK
        message = f"the upload is larger than {self.settings.max_megabytes:g} MB"
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > allowed:
            raise Refused(413, message)
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            part = await receive()
            seen += len(part.get("body", b""))
            if seen > allowed:
                raise Refused(413, message)
            return part

        return limited

    async def _checked_event(self, receive: Receive) -> Receive:
        """Read an event's body and check the files it names: gradio would fetch or copy others."""
        body, more = b"", True
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                break
            body += part.get("body", b"")
            more = part.get("more_body", False)
            if len(body) > LONGEST_EVENT:
                raise Refused(413, "the event is too long")
        try:
            self._check_files(json.loads(body or b"null"))
        except (ValueError, RecursionError):
            raise Refused(422, "the event is not JSON") from None
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again

    def _check_files(self, value: Any) -> None:
        if isinstance(value, list):
            for each in value:
                self._check_files(each)
        elif isinstance(value, dict):
            if value.get("path") is not None:
                self._check_file(str(value["path"]), 403)
            if str(value.get("url") or "").startswith("data:"):
                raise Refused(403, "no such file here")
            for each in value.values():
                self._check_files(each)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _without_twice(scope: Scope) -> Scope:
    """Return a scope without the path of a proxy that did not take it off, as the server puts it before each."""
    root, path = scope.get("root_path", ""), _path(scope)
    if not root or (path != root and not path.startswith(f"{root}/")):
        return scope
    return {**scope, "path": path, "raw_path": scope.get("raw_path", b"").removeprefix(root.encode())}


def _hosts(headers: MutableMapping[str, str]) -> set[str]:
    named = headers.get("x-forwarded-host", "").split(",")
    return {headers.get("host", ""), *(name.strip() for name in named)} - {""}


def _with_headers(send: Send, more: dict[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            given += [(key.lower().encode(), value.encode()) for key, value in (HEADERS | more).items()]
            message = {**message, "headers": given}
        await send(message)

    return sending
