"""What a client asked for and does not get."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ComputeError, InputError


class Refused(Exception):
    """A request that cannot be served; the server lives on.

    Attributes
    ----------
    status : int
        HTTP's: 408 too slow, 413 too large, 415 no picture, 422 cannot be used, 429 queue full, 503 going
        down, or it cannot be computed now.
    message : str
        One line for whoever asked.
    retry_after : int or None
        Seconds after which asking again makes sense.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = " ".join(message.split())
        self.retry_after = retry_after


@contextmanager
def refusing(path: Path | None = None, name: str = "") -> Iterator[None]:
    """Turn what the package says of an input into a refusal that calls the file `path` by its client's `name`."""
    try:
        yield
    except InputError as error:
        message = str(error) if path is None else str(error).replace(str(path), name)
        raise Refused(422, message) from None
    except ComputeError as error:
        raise Refused(503, str(error)) from None
    except MemoryError:
        raise Refused(413, "not enough memory here for a picture of this size; scale it down first") from None
