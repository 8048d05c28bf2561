"""Program that decodes one image: a file on standard input, its pixels on standard output."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from PIL import AvifImagePlugin, Image

from atrous.image_io.errors import Damaged, TooLarge, Unsupported
from atrous.image_io.limits import Limits
from atrous.image_io.pillow import decode_prepared
from atrous.image_io.prepared import Prepared

MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I", "F")
_ALL_MEMORY = 0.75  # of the limit: where less is taken, a file that fails is damaged
_BAND = 4_000_000  # pixels sent at a time


def limit_process(memory: int, seconds: int) -> None:
    """Bound what this process takes; where the system has no such limits, nothing happens."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    with suppress(OSError, ValueError):
        reserved, resident, *_ = map(int, Path("/proc/self/statm").read_text().split())
        most = memory + (reserved - resident) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def peak() -> int:
    """Return the most memory that this process has taken, where the system knows it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def decode(prepared: Prepared, limits: Limits) -> tuple[dict[str, Any], Image.Image | None]:
    """Return what is answered, and the image; None if there is none."""
    try:
        image, orientation = decode_prepared(prepared, limits)
        if image.mode not in MODES:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except (Damaged, TooLarge, Unsupported) as error:
        if isinstance(error, Damaged) and peak() > _ALL_MEMORY * limits.memory:
            return {"error": "MemoryError"}, None  # libraries call it what they like
        return {"error": type(error).__name__, "reason": str(error)}, None
    except MemoryError:
        return {"error": "MemoryError"}, None
    return {"mode": image.mode, "size": image.size, "orientation": orientation}, image


def main() -> None:
    """Read an order and a file, and answer."""
    order = json.loads(sys.argv[1])
    limits = Limits(**order["limits"])
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the limit on time counts all of them
    limit_process(limits.memory, int(order["seconds"]))
    source: BinaryIO = sys.stdin.buffer
    sink: BinaryIO = sys.stdout.buffer
    answer, image = decode(Prepared(data=source.read(), **order["prepared"]), limits)
    sink.write(json.dumps(answer).encode() + b"\n")
    if image is not None:
        width, height = image.size
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            sink.write(image.crop((0, top, width, min(top + rows, height))).tobytes())


if __name__ == "__main__":
    main()
