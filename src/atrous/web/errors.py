"""HTTP errors with one line for the client."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException

from ..errors import ComputeError, InputError
from ..image_io import ImageTooLargeError, UnknownFormatError


class RequestError(HTTPException):
    """A request that gets an error instead of a result.

    Attributes
    ----------
    status_code : int
        HTTP's: 403 not allowed, 404 no such session, 408 too slow, 413 too large, 415 no image, 422 invalid,
        429 queue full, 503 stopping, or cannot be computed now.
    detail : str
        One line for the client.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, " ".join(message.split()), headers)


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn the package's errors about an input into a RequestError."""
    try:
        yield
    except UnknownFormatError as error:
        raise RequestError(415, str(error)) from None
    except ImageTooLargeError as error:
        raise RequestError(413, str(error)) from None
    except InputError as error:
        raise RequestError(422, str(error)) from None
    except ComputeError as error:
        raise RequestError(503, str(error)) from None
    except MemoryError:
        raise RequestError(413, "not enough memory for an image of this size; scale it down first") from None
