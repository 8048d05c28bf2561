"""The command `atrous serve`."""

from importlib.util import find_spec
from typing import Annotated

import typer

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
    max_side: MaxSide = 513,
    threads: Annotated[int | None, typer.Option(help="Threads per request. Default: all cores.")] = None,
    engine: Engine = None,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy serves the page, such as /atrous.")] = "",
    origin: Annotated[
        list[str] | None, typer.Option(help="Origin of web pages that may send requests, such as https://my.site.")
    ] = None,
) -> None:
    """Serve a web page and an HTTP interface (POST /api/segment). No data leaves this machine; Ctrl-C stops it."""
    if find_spec("gradio") is None:
        raise MissingExtra("gradio is not installed: the page needs the extra, pip install 'atrous[web]'")
    from ..web.files import confined
    from ..web.stopping import stopping

    root_path = root_path.rstrip("/")
    if root_path and not root_path.startswith("/"):
        raise InputError(f"--root-path {root_path}: expected a path that starts with /")
    with stopping() as check, confined() as folder:
        from ..backends import bundled_model_path
        from ..segmenter import Segmenter
        from ..web.server import address_of, application, listen
        from ..web.server import serve as run
        from ..web.settings import ServerSettings

        settings = ServerSettings(
            max_megapixels=max_megapixels,
            max_megabytes=max_megabytes,
            queue=queue,
            workers=workers,
            origins=tuple(origin or ()),
        )
        with listen(host, port) as listening:
            segmenter = Segmenter(model, max_side=max_side, threads=threads, engine=engine)
            name = (model or bundled_model_path()).name
            with application(segmenter, settings, folder, model=name, root_path=root_path) as app:
                url = f"http://{address_of(listening.getsockname())}{root_path}"
                check()
                print_line(f"{url}/  (HTTP interface: {url}/api/docs)  Ctrl-C stops it")
                run(app, listening, root_path=root_path)
    print_line("stopped")
