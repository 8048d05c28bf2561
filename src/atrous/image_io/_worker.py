"""Decoder process: requests and files on standard input, pixels on standard output."""

import json
import logging
import os
import signal
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from PIL import AvifImagePlugin, Image

from atrous.image_io._pillow import decode_prepared
from atrous.image_io.base import Damaged, Limits, Prepared, TooLarge, Unsupported

# Modes that are sent without conversion, and their bytes per pixel.
_MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 2, "I;16B": 2, "I": 4, "F": 4}
_OUT_OF_MEMORY = 0.5  # share of the memory limit; if less was in use, an error means a damaged file
_REUSE_LIMIT = 1 << 27  # bytes; a process whose peak memory is higher ends, to free its memory
_BAND = 4_000_000  # pixels sent at a time


def limit_process(memory: int, seconds: int) -> None:
    """Limit the further memory and processor time of this process. Do nothing on systems without such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + seconds, hard))
    with suppress(OSError, ValueError):
        reserved, resident, *_ = map(int, Path("/proc/self/statm").read_text().split())
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (memory + (reserved - resident) * resource.getpagesize(), hard))


def peak() -> int:
    """Return the peak memory of this process in bytes; 0 if the system does not report it."""
    # On Linux, resource.getrusage includes the parent's memory before the start.
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    return 0


def decode(prepared: Prepared, limits: Limits, messages: IO[bytes]) -> tuple[dict[str, Any], Image.Image | None]:
    """Return the reply and the decoded image, or None after an error.

    Parameters
    ----------
    prepared : Prepared
    limits : Limits
    messages : binary file
        File that receives the output of libraries. libtiff continues after some errors, with wrong pixels.
    """
    start = messages.seek(0, os.SEEK_END)
    try:
        image, orientation = decode_prepared(prepared, limits)
        if printed := printed_since(start, messages):
            raise Damaged(printed)
        if image.mode not in _MODES:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except Damaged as error:
        if peak() > _OUT_OF_MEMORY * limits.memory:
            return {"error": "MemoryError"}, None  # libraries raise various errors for it
        return {"error": "Damaged", "reason": printed_since(start, messages) or str(error)}, None
    except (TooLarge, Unsupported) as error:
        return {"error": type(error).__name__, "reason": str(error)}, None
    except MemoryError:
        return {"error": "MemoryError"}, None
    width, height = image.size
    about = {"mode": image.mode, "size": image.size, "bytes": width * height * _MODES[image.mode]}
    return {**about, "orientation": orientation}, image


def printed_since(start: int, messages: IO[bytes]) -> str:
    """Return the first line printed after an offset of the file."""
    messages.seek(start)
    return " ".join(messages.readline().decode(errors="replace").split())[:200]


def answer(order: dict[str, Any], source: BinaryIO, sink: BinaryIO, messages: IO[bytes]) -> bool:
    """Read a file, send the reply, and return whether this process can be used again."""
    limits = Limits(**order["limits"])
    limit_process(limits.memory, order["seconds"])
    try:
        data = source.read(order["bytes"])
    except MemoryError:
        sink.write(json.dumps({"error": "MemoryError", "last": True}).encode() + b"\n")
        return False
    about, image = decode(Prepared(data=data, **order["prepared"]), limits, messages)
    about["last"] = peak() > _REUSE_LIMIT
    sink.write(json.dumps(about).encode() + b"\n")
    if image is not None:
        width, height = image.size
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            sink.write(image.crop((0, top, width, min(top + rows, height))).tobytes())
    sink.flush()
    return not about["last"]


def message_file() -> IO[bytes]:
    """Return a temporary file for the output of libraries, or the null device if none can be created."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return Path(os.devnull).open("r+b")


def main() -> None:
    """Answer requests until the input ends."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    warnings.simplefilter("ignore")  # any output counts as damage
    logging.disable()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the limit on processor time counts all threads
    source = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as sink, message_file() as messages:
        for descriptor in (1, 2):
            os.dup2(messages.fileno(), descriptor)
        while order := source.readline():
            if not answer(json.loads(order), source, sink, messages):
                break


if __name__ == "__main__":
    main()
