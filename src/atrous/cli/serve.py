"""The command `atrous serve`."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Annotated, Any, NoReturn

import typer

from .._defaults import MAX_SIDE
from ..errors import InputError, MissingExtra
from .options import Engine, MaxSide, Model
from .terminal import print_line


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 means all addresses of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 selects a free one.")] = 7860,
    model: Model = None,
    max_megapixels: Annotated[float, typer.Option(help="Size limit of an image.")] = 16,
    max_megabytes: Annotated[float, typer.Option(help="Size limit of an upload.")] = 64,
    queue: Annotated[int, typer.Option(help="Maximum number of waiting requests; others get status 429.")] = 32,
    workers: Annotated[int, typer.Option(help="Number of requests that are computed at the same time.")] = 2,
    max_side: MaxSide = MAX_SIDE,
    threads: Annotated[int | None, typer.Option(help="Threads per request. Default: all cores.")] = None,
    engine: Engine = None,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy serves the page, such as /atrous.")] = "",
    origin: Annotated[
        list[str] | None, typer.Option(help="Origin of web pages that may send requests, such as https://my.site.")
    ] = None,
) -> None:
    """Serve a web page and an HTTP interface (POST /api/segment). No data leaves this machine; Ctrl-C stops it."""
    root_path = root_path.rstrip("/")
    if root_path and not root_path.startswith("/"):
        raise InputError(f"--root-path {root_path}: expected a path that starts with /")
    computing: Callable[[], int] = int  # 0
    with _stopping() as check:
        for package in ("fastapi", "uvicorn", "python_multipart"):
            if find_spec(package) is None:
                raise MissingExtra.of(f"{package} is not installed, but the page needs it", "web")
        from ..backends import bundled_model_path
        from ..segmenter import Segmenter
        from ..web import Application, Server, ServerSettings

        with listen(host, port) as listening:
            place = listening.getsockname()
            settings = ServerSettings(
                max_megapixels=max_megapixels,
                max_megabytes=max_megabytes,
                queue=queue,
                workers=workers,
                origins=tuple(origin or ()),
                loopback=str(place[0]).startswith("127.") or place[0] == "::1",
            )
            segmenter = Segmenter(model, max_side=max_side, threads=threads, engine=engine)
            with Application(segmenter, settings, model=(model or bundled_model_path()).name) as app:
                computing = lambda: app.work.running  # noqa: E731
                url = f"http://{address_of(place)}{root_path}"
                check()
                print_line(f"{url}/  (HTTP interface: {url}/docs)  Ctrl-C stops it")
                Server(app, root_path=root_path).run(sockets=[listening])
    print_line("stopped")
    if computing():  # Python would wait for the thread, which cannot be stopped
        from ..image_io import kill_decoders

        kill_decoders()
        sys.stdout.flush()
        os._exit(0)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

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
        listening = None
        try:
            listening = socket.socket(family, kind, protocol)
            if os.name != "nt":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
            return listening
        except OSError as error:
            reason = reason or error.strerror or str(error)
            if listening is not None:
                listening.close()
    raise InputError(f"{host}:{port}: {reason.lower()}; choose another --port or --host")


def address_of(place: tuple[Any, ...]) -> str:
    """Return a socket's address as in a URL.

    Examples
    --------
    >>> address_of(("0.0.0.0", 7860)), address_of(("fd00::2", 7860, 0, 0))
    ('localhost:7860', '[fd00::2]:7860')
    """
    host, port = place[:2]
    if host in ("0.0.0.0", "::", "127.0.0.1", "::1"):
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Stopped(BaseException):
    """A signal to end came."""


@contextmanager
def _stopping() -> Iterator[Callable[[], None]]:
    """Leave the block, and nothing more, at Ctrl-C, at SIGTERM and when the terminal closes (SIGHUP).

    By default the last two end the process before it cleans up. While uvicorn serves, it handles the first two itself
    and raises them again in the end. SIGHUP stays ignored where it was (nohup).

    Yields
    ------
    callable
        Leaves the block if a signal has come: a library that catches everything may have caught what it raised.
    """
    asked = False

    def check() -> None:
        if asked:
            raise _Stopped

    if threading.current_thread() is not threading.main_thread():
        yield check
        return

    def stop(*_: object) -> NoReturn:
        nonlocal asked
        asked = True
        raise _Stopped

    def hang_up(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        with suppress(KeyboardInterrupt, _Stopped):
            yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
