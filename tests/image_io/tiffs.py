"""TIFF files of any arrangement, written by hand: Pillow writes few of those that it reads."""

import struct
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def blocks(
    array: NDArray[np.generic], planar: bool, tile: int | None, rows: int | None
) -> Iterable[NDArray[np.generic]]:
    """Yield the strips or square tiles of (H, W, C), each plane's after the other's if they are apart."""
    height, width, channels = array.shape
    planes = [array[:, :, c : c + 1] for c in range(channels)] if planar else [array]
    for plane in planes:
        if tile is None:
            yield from (plane[y : y + (rows or height)] for y in range(0, height, rows or height))
            continue
        padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
        for y in range(0, height, tile):
            yield from (padded[y : y + tile, x : x + tile] for x in range(0, width, tile))


def tiff(
    array: NDArray[np.generic],
    photometric: int,
    *,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    deflate: bool = False,
    tile: int | None = None,
    rows: int | None = None,
    bits: int | None = None,
    packed: bytes | None = None,
    **tags: int | tuple[int, ...],
) -> bytes:
    """Return a TIFF of (H, W) or (H, W, C).

    Parameters
    ----------
    array
    photometric : int
    order : "<" or ">"
    big : bool
        BigTIFF.
    planar, deflate : bool
    tile, rows : int, optional
        The side of tiles, or the height of strips.
    bits : int, optional
        Of a channel, if the dtype does not tell.
    packed : bytes, optional
        The one strip's content, if the array does not tell.
    **tags
        Further ones, such as t338=(0, 0), as SHORT.
    """
    array = array if array.ndim == 3 else array[..., None]
    height, width, channels = array.shape
    swapped = array.astype(array.dtype.newbyteorder(order))
    contents = [packed] if packed is not None else [b.tobytes() for b in blocks(swapped, planar, tile, rows)]
    if deflate:
        contents = [zlib.compress(content) for content in contents]
    start = 16 if big else 8
    places = [start + sum(map(len, contents[:i])) for i in range(len(contents))]
    sizes = [len(content) for content in contents]
    entries: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits or array.dtype.itemsize * 8,) * channels),
        259: ("H", (8 if deflate else 1,)),
        262: ("H", (photometric,)),
        277: ("H", (channels,)),
        284: ("H", (2 if planar else 1,)),
        339: ("H", (FORMATS[array.dtype.kind],) * channels),
        **{int(name[1:]): ("H", (v,) if isinstance(v, int) else v) for name, v in tags.items()},
    }
    if tile is None:
        entries |= {273: ("I", tuple(places)), 278: ("I", (rows or height,)), 279: ("I", tuple(sizes))}
    else:
        entries |= {322: ("I", (tile,)), 323: ("I", (tile,)), 324: ("I", tuple(places)), 325: ("I", tuple(sizes))}
    return _file(entries, b"".join(contents), order, big)


def _file(entries: dict[int, tuple[str, tuple[int, ...]]], pixels: bytes, order: str, big: bool) -> bytes:
    pointer, inline = ("Q", 8) if big else ("I", 4)
    start = (16 if big else 8) + len(pixels)
    start += start % 2
    size = (8 if big else 2) + len(entries) * (20 if big else 12) + inline
    listed, behind = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        value = struct.pack(f"{order}{len(values)}{kind}", *values)
        listed += struct.pack(order + "HH" + pointer, tag, {"H": 3, "I": 4}[kind], len(values))
        if len(value) > inline:
            listed += struct.pack(order + pointer, start + size + len(behind))
            behind += value
        else:
            listed += value.ljust(inline, b"\0")
    mark = b"II" if order == "<" else b"MM"
    header = mark + (struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start))
    return (header + pixels).ljust(start, b"\0") + listed + struct.pack(order + pointer, 0) + behind
