import asyncio
import io
import threading
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra 'web'")
pytest.importorskip("uvicorn", reason="needs the extra 'web'")

from clients import Client

from atrous.cli.serve import listen
from atrous.segmenter import Segmenter
from atrous.web import Application, ServerSettings
from atrous.web.server import Server


@pytest.fixture(scope="module")
def make_app(tiny_model):
    """Yields a function that opens an application with a tiny model; all are closed in the end."""
    with ExitStack() as stack:

        def make(max_side=513, **settings):
            segmenter = Segmenter(tiny_model, threads=1, max_side=max_side)
            return stack.enter_context(Application(segmenter, ServerSettings(**settings), model="tiny.onnx"))

        yield make


@pytest.fixture(scope="module")
def client(make_app):
    return Client(make_app(max_megapixels=0.01, max_megabytes=0.1, origins=("https://friend.example",)))


@pytest.fixture(scope="session")
def served():
    """A context in which a thread serves an application on a free port; yields the port and the server."""

    @contextmanager
    def serving(app):
        with listen("127.0.0.1", 0) as listening:
            port = listening.getsockname()[1]
            app.warm_up = lambda: asyncio.sleep(0)  # it would be counted with the tests' requests
            server = Server(app)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
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
