"""Decoding in a process of its own, with limits on memory and time."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from .errors import Damaged, TooLarge, Unsupported
from .limits import Limits
from .prepared import Prepared

_WORKER = Path(__file__).with_name("_worker.py")
_PATIENCE = 6  # seconds on the clock for each of processor time, where other programs want the processor too
_ERRORS = {"Damaged": Damaged, "TooLarge": TooLarge, "Unsupported": Unsupported}


def can_isolate() -> bool:
    """Return whether a process can be started: a frozen application has no interpreter that could run the decoder."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def decode_isolated(prepared: Prepared, limits: Limits) -> tuple[Image.Image, int]:
    """Decode an image in a process that is started for it and ends with it.

    Parameters
    ----------
    prepared : Prepared
    limits : Limits
        Where the system has no limit on a process' memory (Windows, macOS), only the others hold.

    Returns
    -------
    image : PIL image
        Of one of the worker's `MODES`; any other is converted to RGB or RGBA.
    orientation : int
        EXIF's, 1 to 8, that is still to be applied.

    Raises
    ------
    Damaged, TooLarge, Unsupported
    """
    seconds = math.ceil(limits.seconds + len(prepared.data) / 1e6)
    about = {field.name: getattr(prepared, field.name) for field in dataclasses.fields(prepared)}
    del about["data"]
    order = {"prepared": about, "limits": dataclasses.asdict(limits), "seconds": seconds}
    # The packages are found where they are found here, whatever has changed the path since the start.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-P", _WORKER, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    with process:
        try:
            answer, _ = process.communicate(prepared.data, timeout=_PATIENCE * seconds)
        except subprocess.TimeoutExpired:
            raise _too_slow(seconds) from None
        finally:
            if process.poll() is None:
                process.kill()
    return _image(answer, process.returncode, seconds, limits)


def _image(answer: bytes, status: int, seconds: int, limits: Limits) -> tuple[Image.Image, int]:
    head, _, pixels = answer.partition(b"\n")
    if status or not head:
        # A process that is over its time is killed by SIGXCPU (24) or, if it ignores that, by SIGKILL.
        if status in (-24, -9):
            raise _too_slow(seconds)
        raise Damaged(f"the decoder ended with status {status}")
    about = json.loads(head)
    if about.get("error") == "MemoryError":
        raise TooLarge(f"takes more than {limits.memory / 2**30:.3g} GiB to decode; scale the image down first")
    if "error" in about:
        raise _ERRORS[about["error"]](about["reason"])
    return Image.frombuffer(about["mode"], tuple(about["size"]), pixels, "raw", about["mode"], 0, 1), about[
        "orientation"
    ]


def _too_slow(seconds: int) -> TooLarge:
    return TooLarge(f"takes more than {seconds} s to decode; save it as JPEG or PNG")
