"""Clients of an application, for tests."""

import asyncio
import io

import httpx
import numpy as np
from PIL import Image


class Client:
    """Calls an application in this process, one request or several at a time."""

    def __init__(self, app):
        self.app = app

    def post(self, url="/api/segment", **request):
        return self.all([("POST", url, request)])[0]

    def get(self, url, **request):
        return self.all([("GET", url, request)])[0]

    def all(self, requests):
        async def run():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await asyncio.gather(*(client.request(m, url, **request) for m, url, request in requests))

        return asyncio.run(run())


def form(data, **fields):
    return {"files": {"image": ("photo.png", data)}, "data": fields}


def failed(answer, status):
    assert answer.status_code == status, answer.text
    (message,) = answer.json().values()
    assert list(answer.json()) == ["error"]
    assert "\n" not in message
    assert "Traceback" not in message
    return message


def ids(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def labels_of(runs):
    """Decode a LabelMap."""
    return np.repeat(np.array(runs["labels"], np.uint8), runs["counts"]).reshape(runs["size"])


def mask_of(mask):
    """Decode COCO's uncompressed run lengths."""
    inside = np.arange(len(mask["counts"])) % 2 == 1
    return np.repeat(inside, mask["counts"]).reshape(mask["size"], order="F")


def runs_of(labels):
    """Encode a LabelMap pixel by pixel."""
    return {"size": labels.shape, "labels": labels.ravel().tolist(), "counts": [1] * labels.size}
