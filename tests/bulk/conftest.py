"""Photos, and runs without Ray: the same shards, by the same class, in this process."""

import io
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")
pytest.importorskip("ray")

import pyarrow as pa

from atrous import Segmenter
from atrous.bulk import Settings, driver, run
from atrous.bulk.actor import ShardSegmenter


def picture(i: int) -> Image.Image:
    """Gray, 48 x 64, with a red square whose width depends on i."""
    image = np.full((48, 64, 3), 120, np.uint8)
    image[8:32, 8 : 30 + i % 30] = 230, 20, 20
    return Image.fromarray(image)


def encoded(i: int, form: str = "PNG") -> bytes:
    sink = io.BytesIO()
    picture(i).save(sink, form)
    return sink.getvalue()


@pytest.fixture(scope="session")
def draw():
    return encoded


@pytest.fixture
def photos(tmp_path) -> Path:
    """Ten photos in two folders."""
    for i in range(10):
        path = tmp_path / "in" / "ab"[i % 2] / f"photo{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(i))
    return tmp_path / "in"


@pytest.fixture(scope="session")
def expected(tiny_model):
    """Labels of the i-th picture, by the segmenter alone."""
    segmenter = Segmenter(tiny_model, threads=1)
    return lambda i: segmenter(np.asarray(picture(i))).labels


@contextmanager
def no_cluster(address, actors):
    yield 2


def in_this_process(job, model, shards, actors, count):
    worker = ShardSegmenter(job, model)
    for shard, entries in shards:
        yield from worker(pa.table({"shard": [shard], "entries": [entries]})).to_pylist()


@pytest.fixture
def bulk(tiny_model):
    """`run` without Ray, with the tiny model."""

    def bulk(given, out, *, execute=in_this_process, **settings):
        settings = Settings(**{"model": tiny_model, "shard_size": 3, **settings})
        with patch.object(driver, "connected", no_cluster), patch.object(driver, "execute", execute):
            return run(str(given), str(out), settings)

    bulk.execute = in_this_process
    return bulk


@pytest.fixture
def read_mask():
    def read(content) -> np.ndarray:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            return np.array(image)

    return read
