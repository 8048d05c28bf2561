"""Label maps as PNG files whose pixel values are label ids."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atrous._io import write_bytes
from atrous.errors import InputError
from atrous.image_io.decode import Decoded, Source, decode
from atrous.labelmap.voc_colormap import full_palette

SOFTWARE = "atrous"  # PNG "Software" entry of masks and JPEG comment of overlays
_MARKS = (b"tEXtSoftware\0" + SOFTWARE.encode(), b"\xff\xfe" + (len(SOFTWARE) + 2).to_bytes(2) + SOFTWARE.encode())
_KEY = "atrous-key"  # PNG entry of `stored_key`
_HEAD = 2048  # bytes; Pillow writes all these entries within them
_HEADER = 26  # bytes of a PNG, which end with bit depth and color type


def label_image(labels: NDArray[np.uint8], palette: ArrayLike | None = None) -> Image.Image:
    """Return labels (H, W) as a palette-mode PIL image whose pixel values are the ids."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype != np.uint8 or labels.size == 0:
        raise InputError(
            f"labels: expected (H, W) uint8, got shape {labels.shape} {labels.dtype}; take the argmax of scores,"
            " and convert ids with .astype(numpy.uint8)"
        )
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(full_palette(palette).tobytes())
    return image


def write_labels(path: str | os.PathLike[str], labels: NDArray[np.uint8], palette: ArrayLike | None = None) -> None:
    """Write a label map as an index PNG, atomically.

    Parameters
    ----------
    path
        The file to write or replace.
    labels
        (H, W) uint8 label ids; 255 is void.
    palette
        Colors of the first n ids, (n, 3). The other ids have VOC's colors. Default: VOC's colors for all ids.
    """
    write_bytes(path, label_png(labels, palette))


def label_png(labels: NDArray[np.uint8], palette: ArrayLike | None = None, key: str | None = None) -> bytes:
    """Return the index PNG of `write_labels`, marked as an output of this package; for `key` see `stored_key`."""
    return png_bytes(label_image(labels, palette), key)


def png_bytes(image: Image.Image, key: str | None = None) -> bytes:
    """Return an image as a PNG, marked as an output of this package; for `key` see `stored_key`."""
    made_by = PngInfo()
    made_by.add_text("Software", SOFTWARE)
    if key is not None:
        made_by.add_text(_KEY, key)
    content = io.BytesIO()
    image.save(content, format="PNG", pnginfo=made_by)
    return content.getvalue()


def made_here(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a mask, an overlay or a cut-out of this package, from its first bytes."""
    head = _head(path)
    return head.startswith((b"\x89PNG", b"\xff\xd8")) and any(mark in head for mark in _MARKS)


def stored_key(path: str | os.PathLike[str]) -> str | None:
    """Return the key of a mask or a cut-out: a short ASCII text that stands for its image and its settings.

    None: the file has no key, cannot be read, or was saved again by another program.
    """
    before, entry, after = _head(path).partition(b"tEXt" + _KEY.encode() + b"\0")
    if not entry:
        return None
    length = int.from_bytes(before[-4:])  # of the keyword, a zero byte and the text
    return after[: max(0, length - len(_KEY) - 1)].decode("latin-1")


def _head(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_HEAD)
    except OSError:  # reported when the file is read
        return b""


def is_label_map(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a PNG of label ids, palette-mode or 8-bit gray, from its header."""
    head = _head(path)[:_HEADER]
    return head.startswith(b"\x89PNG\r\n\x1a\n") and (head[25:] == b"\3" or head[24:] == b"\x08\0")


def read_labels(path: Source, name: str | None = None) -> NDArray[np.uint8]:
    """Read a label map, (H, W) uint8 ids, from a palette-mode or an 8-bit gray PNG.

    Parameters
    ----------
    path : path, bytes or binary file
    name : str, optional
        Name of the label map in messages. Default: the path.

    Raises
    ------
    InputError
        If the file cannot be decoded, or its pixels are colors instead of ids.
    """
    return label_ids(decode(path, name, formats=("PNG",)), name or str(path))


def label_ids(decoded: Decoded, name: str) -> NDArray[np.uint8]:
    """Return the ids of a decoded label map, (H, W) uint8. Same errors as `read_labels`."""
    image, bits = decoded.image, decoded.stored.bits
    if image.mode not in ("P", "L"):
        known = {
            "1": "1-bit pixels, which may mean 0 and 1 or 0 and 255; save the class ids with 8 bits",
            "I": "16 bits or more; save the class ids with 8 bits",
        }
        colors = f"colors ({image.mode}); save class ids, or add colors.txt to a data set, a line NAME R G B per color"
        got = known.get(image.mode[0], colors)
        raise InputError(f"{name}: expected label ids (a palette-mode or 8-bit gray PNG), got {got}")
    if image.mode == "L" and bits < 8:
        raise InputError(
            f"{name}: expected label ids (a palette-mode or 8-bit gray PNG), got {bits}-bit gray, whose values mean"
            " shades from 0 to 255; save the class ids with 8 bits"
        )
    return np.array(image, dtype=np.uint8)
