"""Files and fields of a request body, which is a form or a plain file."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

from starlette.datastructures import UploadFile
from starlette.requests import Request

from .errors import RequestError

SPOOLED = 1024 * 1024  # bytes of a file that stay in memory, as of a form's files
MAX_FIELDS = 16
MAX_FIELD = 1024 * 1024  # bytes; strokes as JSON are the longest
FILES = ("image", "file", "mask", "probabilities")
# Content types of a plain file besides image/*: the defaults of curl --data-binary, and none.
PLAIN = ("application/octet-stream", "application/x-www-form-urlencoded", "")


@dataclass(frozen=True)
class File:
    """Uploaded file with the client's name for it."""

    file: IO[bytes]
    name: str

    def content(self) -> bytes:
        """Return the file's content."""
        self.file.seek(0)
        return self.file.read()


@asynccontextmanager
async def read_body(request: Request) -> AsyncIterator[tuple[dict[str, File], dict[str, str]]]:
    """Yield a form's files and fields by name; any other body is the file `image`."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=len(FILES), max_fields=MAX_FIELDS, max_part_size=MAX_FIELD) as form:
            files: dict[str, File] = {}
            fields: dict[str, str] = {}
            for key, value in form.multi_items():
                if key in files or key in fields:
                    raise RequestError(422, f"{short(key)}: expected once, got twice")
                if isinstance(value, str):
                    fields[key] = value
                elif key in FILES:
                    files["image" if key == "file" else key] = _file(value, key)
                else:
                    raise RequestError(422, f"{short(key)}: unknown file; expected image")
            yield files, fields
    elif kind.startswith("image/") or kind in PLAIN:
        with tempfile.SpooledTemporaryFile(max_size=SPOOLED) as body:
            async for part in request.stream():
                body.write(part)
            yield {"image": File(body, "image")}, {}
    else:
        raise RequestError(415, f"{short(kind)}: expected a form (multipart/form-data) or an image (image/*)")


def _file(upload: UploadFile, key: str) -> File:
    return File(upload.file, short(upload.filename or key))


def short(text: str) -> str:
    """Return a client's text on one line of up to 80 characters.

    Examples
    --------
    >>> short("a  photo .jpg")
    'a photo .jpg'
    """
    return " ".join(text.split())[:80]
