"""Reduction of PNG files to the needed chunks before decoding, and verification of their checksums."""

import struct
import zlib

from .base import Damaged, Prepared, Unsupported, orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Encoders write chunks of 8 kB or more, so this many exceed the largest file.
_MOST_CHUNKS = 300_000
_MOST_TEXT = 1 << 20  # bytes of metadata, decompressed
_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"  # keywords; the first is ImageMagick's
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_GRAY, _RGB, _PALETTE = 0, 2, 3  # color types


def prepare(data: bytes) -> Prepared:
    """Return the header, palette, transparency and pixels; verify their checksums."""
    first: dict[bytes, bytes] = {}  # the first chunk or text of each kind
    pixels: list[memoryview] = []
    view = memoryview(data)
    position = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        content = view[position + 8 : position + 8 + length]
        position += 12 + length
        if not kind.isalpha():
            raise Damaged("a chunk without a name")
        if kind in _TEXTS:
            keyword = bytes(content[:80]).partition(b"\0")[0]
            if keyword in (_EXIF, _XMP) and keyword not in first:
                first[keyword] = _text(kind, bytes(content[len(keyword) + 1 :]))
        elif kind == b"eXIf":
            first.setdefault(kind, bytes(content))
        elif kind == b"IEND":
            break
        elif kind in _PIXELS:
            _check(view[position - length - 8 : position], kind, length)
            if kind == b"IDAT":
                pixels.append(content)
            else:
                first.setdefault(kind, bytes(content))
        elif kind[:1].isupper():  # a critical chunk
            raise Unsupported(f"expected chunks of the PNG standard, got {kind.decode()}; save it again")
    else:
        raise Damaged(f"more than {_MOST_CHUNKS} chunks")
    header = first.get(b"IHDR", b"")
    if len(header) != 13 or not pixels:
        raise Damaged("no image")
    width, height, bits, color = struct.unpack_from(">IIBB", header)
    if bits not in (1, 2, 4, 8, 16):
        raise Damaged(f"{bits} bits per sample")
    if color == _PALETTE and b"PLTE" not in first:
        raise Damaged("no palette")
    transparent = None
    if b"tRNS" in first and color == _GRAY and bits == 16:
        transparent = int.from_bytes(first.pop(b"tRNS")[:2], "big")
    elif b"tRNS" in first and color in (_GRAY, _RGB):
        first[b"tRNS"] = _as_decoded(first[b"tRNS"], bits)
    made: list[bytes | memoryview] = [
        SIGNATURE,
        *(_chunk(kind, first[kind]) for kind in (b"IHDR", b"PLTE", b"tRNS") if kind in first),
    ]
    made += [struct.pack(">I4s", sum(map(len, pixels)), b"IDAT"), *pixels, b"\0\0\0\0", _chunk(b"IEND", b"")]
    return Prepared(
        "PNG",
        b"".join(made),
        (width, height),
        orientation=orientation_of(first.get(b"eXIf") or _profile(first.get(_EXIF, b"")), first.get(_XMP)),
        bits=bits,
        transparent=transparent,
    )


def _check(chunk: memoryview, kind: bytes, length: int) -> None:
    """Raise Damaged if a chunk is truncated or its checksum is wrong."""
    if len(chunk) < length + 4:
        raise Damaged(f"ends within its chunk {kind.decode()}")
    # A file that ends between the last pixel and its checksum is accepted.
    if len(chunk) == length + 8 and zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise Damaged(f"wrong checksum in its chunk {kind.decode()}")


def _text(kind: bytes, content: bytes) -> bytes:
    """Return the text after a chunk's keyword; empty if it is damaged or too long."""
    compressed = kind == b"zTXt" or (kind == b"iTXt" and content[:1] == b"\1")
    if kind == b"zTXt":
        text = content[1:]
    elif kind == b"iTXt":
        text = content[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        text = content
    if not compressed:
        return text[:_MOST_TEXT]
    try:
        return zlib.decompressobj().decompress(text, _MOST_TEXT)
    except zlib.error:
        return b""


def _profile(text: bytes) -> bytes | None:
    """Return the EXIF data from the hexadecimal digits after three lines."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return None


def _as_decoded(transparency: bytes, bits: int) -> bytes:
    """Return the transparent gray value or color scaled to 8 bits, as Pillow compares it with the pixels."""
    values = struct.unpack(f">{len(transparency) // 2}H", transparency[: len(transparency) // 2 * 2])
    scaled = (value >> 8 if bits == 16 else value * 255 // ((1 << bits) - 1) for value in values)
    return b"".join(struct.pack(">H", value & 255) for value in scaled)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
