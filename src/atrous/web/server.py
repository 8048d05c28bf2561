"""Everything put together, and served."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn

from ..errors import InputError
from ..segmenter import Segmenter
from .api import create_api
from .desk import Desk
from .files import Sweeper, lay_out_examples
from .gate import Gate
from .page import create_page, stylesheet, theme
from .settings import ServerSettings
from .stopping import stopping
from .studio import Studio
from .work import WorkQueue


@contextmanager
def application(
    segmenter: Segmenter, settings: ServerSettings, folder: Path, *, model: str = "model", root_path: str = ""
) -> Iterator[Gate]:
    """Yield the page and the HTTP interface as one ASGI application.

    Parameters
    ----------
    segmenter : Segmenter
    settings : ServerSettings
    folder : Path
        What `confined` yields.
    model : str
        Its name, to be shown.
    root_path : str
        Path before the server's own, behind a proxy.
    """
    lay_out_examples(folder)
    studio = Studio(segmenter, model)
    work = WorkQueue(settings.workers, settings.queue)
    api = create_api(studio, work, settings)
    page = create_page(Desk(studio, work, settings, folder), root_path)
    app = gr.mount_gradio_app(
        api,
        page,
        path="/",
        root_path=root_path or None,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=settings.max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=stylesheet(),
    )
    page.has_launched = True  # else gradio does not check which files it is asked for
    with Sweeper(folder, int(settings.file_megabytes * 1e6)):
        try:
            yield Gate(app, settings, folder, work)
        finally:
            work.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises
    ------
    InputError
        If the host is not this machine's, or the port is taken or not allowed.
    """
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, OverflowError, UnicodeError):
        raise InputError(f"host {host}: not known; expected an address of this machine such as 127.0.0.1") from None
    reason = ""
    for family, kind, protocol, _, address in places:  # a name may stand for an IPv6 address that is not set up, too
        try:
            return _listening(family, kind, protocol, address)
        except OSError as error:
            reason = reason or error.strerror or str(error)
    raise InputError(f"{host}:{port}: {reason.lower()}; choose another --port or --host")


def _listening(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError:
        listening.close()
        raise
    return listening


def address_of(place: tuple[Any, ...]) -> str:
    """Return where a socket listens, as it is called in a web address.

    Examples
    --------
    >>> address_of(("0.0.0.0", 7860)), address_of(("fd00::2", 7860, 0, 0))
    ('localhost:7860', '[fd00::2]:7860')
    """
    host, port = place[:2]
    if host in ("0.0.0.0", "::", "127.0.0.1", "::1"):
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(app: Gate, listening: socket.socket, *, root_path: str = "") -> None:
    """Serve until Ctrl-C or SIGTERM.

    Then requests that are being computed get their answers, and those that wait or still come are refused (503). A
    second Ctrl-C leaves all without an answer.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        root_path=root_path,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    with stopping():
        Server(config, app).run(sockets=[listening])


class Server(uvicorn.Server):
    """Lets what is computed be answered before it closes its sockets."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer, then end."""
        self._gate.work.leave_off()
        while self._gate.work.busy and not self.force_exit:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)  # for the page to be told what came out of it
        self._gate.end_streams()
        await super().shutdown(sockets)
