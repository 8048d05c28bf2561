"""Program that reads each image file named on standard input in a fork, and prints how that ended as JSON."""

import json
import os
import resource
import sys

from atrous.image_io.decode import read_image

HANG = 120  # seconds of processor time, after which the system ends a fork


def outcome(path: str) -> dict[str, str]:
    """Return what reading a file gives: its shape, or the name and text of the error."""
    try:
        return {"shape": str(read_image(path).shape)}
    except BaseException as error:
        return {"error": type(error).__name__, "message": str(error)}


def child(path: str, answer: int) -> None:
    """Read a file and report; never returns."""
    resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG))
    found = outcome(path)
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    unit = 1 if sys.platform == "darwin" else 1024
    told = {
        **found,
        "peak": max(usage.ru_maxrss for usage in used) * unit,
        "seconds": sum(usage.ru_utime + usage.ru_stime for usage in used),
    }
    os.write(answer, json.dumps(told).encode())
    os._exit(0)


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        receive, send = os.pipe()
        pid = os.fork()
        if not pid:
            child(line.rstrip("\n"), send)
        os.close(send)
        with os.fdopen(receive, "rb") as answer:
            told = answer.read()
        _, status = os.waitpid(pid, 0)
        print(told.decode() or json.dumps({"error": f"status {status}", "message": "", "peak": 0}), flush=True)


if __name__ == "__main__":
    main()
