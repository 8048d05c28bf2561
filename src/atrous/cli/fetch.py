"""Images from web addresses and from standard input, limited in bytes and time."""

import queue
import re
import string
import sys
import threading
import time
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..errors import InputError

STDIN = "-"
MOST_BYTES = 64_000_000
SECONDS = 60.0  # for a whole image, with name resolution and redirects
_SILENCE = 15.0  # seconds without a byte
_PART = 1 << 16


def is_web_address(text: str) -> bool:
    """Return whether a command's argument is an HTTP address."""
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def file_name(address: str) -> str:
    """Return a name for an address' file: the last part of its path, or its host.

    Examples
    --------
    >>> file_name("https://example.com/a/my%20cat.jpg?size=2"), file_name("https://example.com/")
    ('my cat.jpg', 'example.com')
    """
    parts = urlsplit(address)
    last = re.sub(r'[\x00-\x1f\x7f\\/:*?"<>|]', "_", unquote(parts.path.rstrip("/").rsplit("/", 1)[-1]))
    return last.lstrip(".") or re.sub(r"[^\w.-]", "_", parts.hostname or "") or "image"


def read_stdin() -> bytes:
    """Return the bytes of standard input.

    Raises
    ------
    InputError
        If there are more than `MOST_BYTES`.
    """
    content = sys.stdin.buffer.read(MOST_BYTES + 1)
    _check_size(len(content), "standard input")
    return content


def fetch(address: str) -> bytes:
    """Download a file by HTTP or HTTPS; redirects are followed.

    Raises
    ------
    InputError
        If the server cannot be reached or returns an error, or the file is larger than `MOST_BYTES` or takes longer
        than `SECONDS`.
    """
    answer: queue.SimpleQueue[bytes | InputError] = queue.SimpleQueue()
    # A thread, because the system's name resolution has no time limit.
    threading.Thread(target=lambda: answer.put(_answer(address)), daemon=True).start()
    try:
        content = answer.get(timeout=SECONDS)
    except queue.Empty:
        content = InputError(f"{address}: took more than {SECONDS:g} s; download the photo first")
    if isinstance(content, InputError):
        raise content
    return content


def _answer(address: str) -> bytes | InputError:
    from http.client import HTTPException  # imported here, as it takes 20 ms that other runs save
    from urllib.error import HTTPError

    try:
        return _downloaded(address)
    except InputError as error:
        return error
    except HTTPError as error:
        return InputError(f"{address}: expected a photo, got HTTP status {error.code} ({error.reason})")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an invalid address
        reason: Any = getattr(error, "reason", error)
        why = " ".join(str(getattr(reason, "strerror", None) or reason).split())[:200] or type(reason).__name__
        return InputError(f"{address}: cannot be fetched ({why})")


def _downloaded(address: str) -> bytes:
    from urllib import request

    from .._provenance import own_version

    opener = request.OpenerDirector()
    for handler in (  # those of `build_opener` without files and FTP
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    asked = request.Request(quote(address, safe=string.punctuation), headers={"User-Agent": f"atrous/{own_version()}"})
    deadline = time.monotonic() + SECONDS
    content = bytearray()
    with opener.open(asked, timeout=_SILENCE) as response:
        announced = response.length
        _check_size(announced or 0, address)
        while (part := response.read1(_PART)) and time.monotonic() < deadline:
            content += part
            _check_size(len(content), address)
    if announced is not None and len(content) < announced:
        raise InputError(f"{address}: the connection ended after {len(content):,} of {announced:,} bytes; try again")
    return bytes(content)


def _check_size(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise InputError(f"{name}: expected at most {MOST_BYTES // 10**6} MB; segment a smaller photo, or a file")
