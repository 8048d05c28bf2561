"""Files that are often given in place of a model, of weights or of an array, by their first bytes."""

import os
import re

from .errors import InputError

HEAD = 512  # bytes needed to detect a kind

_KINDS = (
    ("a web page; download the file itself", rb"\s*<(?:!doctype|html|\?xml|head)"),
    ("a pointer of git-lfs; run git lfs pull", rb"\s*version https://git-lfs"),
    ("HDF5; save it as one of these", rb"\x89HDF"),
    ("a compressed file; unpack it first", rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf"),
)
# The first eight bytes of safetensors are the length of the JSON after them.
_NETWORKS = (
    ("weights as safetensors", rb".{8}\{"),
    ("a file of PyTorch", rb"PK\x03\x04|\x80[\x02-\x05]"),
    ("an array of NumPy", rb"\x93NUMPY"),
)


def refuse_foreign(path: str | os.PathLike[str], head: bytes, expected: str, remedy: str | None = None) -> None:
    """Raise InputError if a file is empty or of another kind than expected.

    Parameters
    ----------
    path : path
        Name of the file in the message.
    head : bytes
        The first `HEAD` bytes of the file.
    expected : str
        What the file should contain.
    remedy : str, optional
        What to do with files of PyTorch, safetensors and NumPy. Default: they are accepted.
    """
    if not head:
        raise InputError(f"{path}: expected {expected}, got an empty file; fetch it again")
    foreign = [(f"{kind}; {remedy}", pattern) for kind, pattern in _NETWORKS if remedy is not None]
    for kind, pattern in (*_KINDS, *foreign):
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            raise InputError(f"{path}: expected {expected}, got {kind}")
