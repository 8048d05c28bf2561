"""Spoiled pictures of every format that is read: bytes changed, sizes at their limits, chunks and tags out of place."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hostile_cases as cases
import numpy as np
from mutations import EDGES, spoiled_bytes
from PIL import Image, features

from atrous.image_io.decode import IMAGE_SUFFIXES, read_image
from atrous.labelmap import read_labels
from atrous.labelmap.color_table import ColorTable

MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "LA")

# Format, mode and options of the pictures that are spoiled.
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    *(("JPEG", mode, {"quality": 90}) for mode in ("RGB", "L", "CMYK")),
    ("JPEG", "RGB", {"progressive": True}),
    (
        "JPEG",
        "RGB",
        {"exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"},
    ),
    *(("PNG", mode, {}) for mode in ("RGB", "L", "RGBA", "P", "1", "I;16", "LA")),
    ("PNG", "P", {"transparency": 3}),
    ("PNG", "RGB", {"save_all": True, "append_images": 2}),
    *(("TIFF", mode, {}) for mode in ("RGB", "P", "1", "CMYK", "I;16", "F")),
    *(("TIFF", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
    ("TIFF", "1", {"compression": "group4"}),
    *(("GIF", mode, {}) for mode in ("P", "L")),
    ("GIF", "P", {"save_all": True, "append_images": 2}),
    *(("BMP", mode, {}) for mode in ("RGB", "P", "1", "RGBA")),
    *(("PPM", mode, {}) for mode in ("RGB", "L", "1", "I;16")),
    *(("TGA", mode, {}) for mode in ("RGB", "P", "L", "RGBA")),
    ("TGA", "RGB", {"compression": "tga_rle"}),
    *([("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True})] if features.check("webp") else []),
    *([("JPEG2000", "RGB", {}), ("JPEG2000", "L", {"irreversible": True})] if features.check("jpg_2000") else []),
    *([("AVIF", "RGB", {}), ("AVIF", "RGBA", {})] if features.check("avif") else []),
]

TABLE = ColorTable((0, 1, 255), ((0, 0, 0), (128, 0, 0), (224, 224, 192)), others_void=True)


@cache
def picture(kind: int) -> bytes:
    """Return a good picture, 40 x 24, of one of `KINDS`."""
    form, mode, options = KINDS[kind]
    rows, columns = np.mgrid[:24, :40]
    gray = (rows * 5 + columns * 3).astype(np.uint8)
    drawn: Image.Image
    if mode == "I;16":
        drawn = Image.fromarray(gray.astype(np.uint16) * 257)
    elif mode == "F":
        drawn = Image.fromarray(gray.astype(np.float32))
    else:
        drawn = Image.fromarray(np.stack([gray, 255 - gray, gray // 2], axis=-1)).convert(mode)
    options = dict(options)
    if options.get("append_images"):
        options["append_images"] = [drawn.rotate(90 * i) for i in range(1, options["append_images"] + 1)]
    sink = io.BytesIO()
    drawn.save(sink, form, **options)
    return sink.getvalue()


def spoiled_png(rng: random.Random, data: bytes) -> bytes:
    """Change chunks and keep their checksums right, so that the change gets past them."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(chunks))
        name, content = chunks[place]
        kind = rng.randrange(5)
        if kind == 0:
            del chunks[place]
        elif kind == 1:
            chunks.insert(rng.randrange(len(chunks)), (name, content))
        elif kind == 2 and name == b"IHDR":
            field = rng.choice((0, 4))
            content = content[:field] + (rng.choice(EDGES) & 0x7FFFFFFF).to_bytes(4, "big") + content[field + 4 :]
            chunks[place] = name, content
        elif kind == 3 and name == b"IDAT":
            try:
                content = zlib.compress(spoiled_bytes(rng, zlib.decompress(content), most=2))
            except zlib.error:
                content = zlib.compress(rng.randbytes(100))
            chunks[place] = name, content
        else:
            chunks[place] = name, spoiled_bytes(rng, content, most=2)
        if not chunks:
            return data[:8]
    framed = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return data[:8] + b"".join(framed)


def spoiled_tiff(rng: random.Random, data: bytes) -> bytes:
    """Change entries of the first directory: tags, types, counts and values."""
    out = bytearray(data)
    (start,) = struct.unpack("<I", data[4:8])
    if data[:2] != b"II" or start + 2 > len(data):
        return spoiled_bytes(rng, data)
    (count,) = struct.unpack("<H", data[start : start + 2])
    for _ in range(rng.randint(1, 3)):
        entry = start + 2 + 12 * rng.randrange(max(1, count))
        field, size = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 4)))
        value = rng.choice((*EDGES, 256, 257, 258, 259, 322, 323, 324, 325, 330)) & (1 << 8 * size) - 1
        out[entry + field : entry + field + size] = value.to_bytes(size, "little")
    return bytes(out)


def spoiled_jpeg(rng: random.Random, data: bytes) -> bytes:
    """Take segments out, double them, change sizes in the frame's header."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at : at + length])
        at += length
    parts.append(data[at:])
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(1, len(parts))
        kind = rng.randrange(5)
        if kind == 0:
            del parts[place]
        elif kind == 1:
            parts.insert(place, parts[place])
        elif kind == 2:
            parts[place : place + 1] = [parts[place]] * rng.choice((3, 60))
        elif kind == 3:
            for i, part in enumerate(parts):
                if part[:1] == b"\xff" and part[1] in (0xC0, 0xC2) and len(part) > 9:
                    field = rng.choice((5, 7))
                    parts[i] = part[:field] + (rng.choice(EDGES) & 0xFFFF).to_bytes(2, "big") + part[field + 2 :]
        else:
            parts[place] = spoiled_bytes(rng, parts[place], most=2)
        if len(parts) < 2:
            break
    return b"".join(parts)


BY_FORMAT: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "PNG": spoiled_png,
    "TIFF": spoiled_tiff,
    "JPEG": spoiled_jpeg,
}


def written(rng: random.Random, folder: Path) -> Path:
    """Write a spoiled picture under a name that may be another format's."""
    kind = rng.randrange(len(KINDS))
    content = picture(kind)
    for _ in range(1 + (rng.random() < 0.2)):
        spoil = BY_FORMAT.get(KINDS[kind][0], spoiled_bytes)
        content = (
            spoil(rng, content) if rng.random() < 0.6 and len(content) > 16 else spoiled_bytes(rng, content, most=2)
        )
    if rng.random() < 0.05:
        content += picture(rng.randrange(len(KINDS)))
    path = folder / f"photo{rng.choice(sorted(IMAGE_SUFFIXES))}"
    path.write_bytes(content)
    return path


def photo(rng: random.Random, folder: Path) -> None:
    image = read_image(written(rng, folder))
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.size > 0


def labels(rng: random.Random, folder: Path) -> None:
    ids = read_labels(written(rng, folder))
    assert ids.dtype == np.uint8
    assert ids.ndim == 2


def drawn_labels(rng: random.Random, folder: Path) -> None:
    ids = TABLE.read_labels(written(rng, folder))
    assert ids.ndim == 2
    assert set(np.unique(ids)) <= {0, 1, 255}


CASES: list[cases.Case] = [photo, photo, photo, labels, drawn_labels]


def run_case(seed: tuple[int, int]) -> str:
    """Run one case."""
    return cases.run(CASES, seed)
