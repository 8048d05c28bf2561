import asyncio
import io
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

import uvicorn

from atrous.segmenter import Segmenter
from atrous.web.files import confined
from atrous.web.server import Server, application, listen
from atrous.web.settings import ServerSettings


@pytest.fixture(scope="module")
def make_app(tiny_model):
    """Yields a function that opens an application with a tiny model; all are closed in the end."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def make(root_path="", **settings):
            segmenter = Segmenter(tiny_model, threads=1)
            folder = stack.enter_context(confined())
            return stack.enter_context(
                application(segmenter, ServerSettings(**settings), folder, model="tiny.onnx", root_path=root_path)
            )

        yield make


@pytest.fixture(scope="session")
def served():
    """A context in which a thread serves an application on a free port; yields the port and the server."""

    @contextmanager
    def serving(app):
        with listen("127.0.0.1", 0) as listening:
            port = listening.getsockname()[1]
            server = Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1), app)
            thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
            thread.start()
            try:
                yield port, server
            finally:
                server.should_exit = True
                thread.join()

    return serving


@pytest.fixture
def picture(red_square):
    """The red square as files."""

    def encode(form="PNG", image=red_square, **options):
        file = io.BytesIO()
        Image.fromarray(image).save(file, form, **options)
        return file.getvalue()

    return encode


@pytest.fixture
def truth():
    labels = np.zeros((64, 96), np.uint8)
    labels[16:48, 24:72] = 1
    return SimpleNamespace(labels=labels)
