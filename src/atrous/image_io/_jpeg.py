"""Reduction of JPEG files to the needed segments before decoding, and limits on their scans."""

import re
import struct

from .base import Damaged, Prepared, TooLarge, Unsupported, orientation_of

# Encoders write about 10 scans, at most 20. The decoder passes over all blocks for each scan, however short it is. 5e9
# pixels in all passes take a few seconds.
_ALWAYS_ALLOWED, _MOST_SCANS, _MOST_PASSES = 20, 10_000, 5e9
_SHORTEST_SCAN = 10  # bytes
_LARGEST_BLOCK = 32  # pixels per side of the padding unit
_MOST_SEGMENTS = 10_000
_MOST_TABLES = 1 << 18  # bytes of needed segments before the first scan

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3}  # baseline, extended, progressive, lossless
# Hierarchical and arithmetic-coded frames: unsupported by browsers; arithmetic decoding creates pixels from no data.
_OTHER_FRAMES = {0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_ALWAYS_SEVERAL_SCANS = {0xC2, 0xC3}
_TABLES = {0xC4, 0xDB, 0xDD}  # Huffman, quantization, restart interval
_DECIDE_COLORS = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}  # APP0 and APP14


def prepare(data: bytes) -> Prepared:
    """Return the tables, the frame and its scans; limit the number of scans."""
    segments = [data[:2]]
    frame = b""  # the marker and the segment's content
    exif = xmp = None
    position = 2
    for _ in range(_MOST_SEGMENTS):
        marker, start, end = _segment(data, position)
        position = end
        if marker in _OTHER_FRAMES:
            raise Unsupported("an arithmetic-coded or hierarchical JPEG, which few programs read; save it as PNG")
        if marker in _FRAMES:
            if frame:
                raise Damaged("two frames")
            frame = data[start + 1 : start + 2] + data[start + 4 : end]
            segments.append(data[start:end])
        elif marker == _APP1:
            # Extended XMP and further EXIF segments hold no orientation.
            if exif is None and data.startswith(b"Exif\0\0", start + 4):
                exif = data[start + 4 : end]
            elif xmp is None and data.startswith(b"http://ns.adobe.com/xap/1.0/\0", start + 4):
                xmp = data[start + 4 : end]
        elif marker in _TABLES or data.startswith(_DECIDE_COLORS.get(marker, b"never"), start + 4):
            segments.append(data[start:end])
        elif marker == _SOS:
            return _prepared(data, start, segments, frame, orientation_of(exif, xmp))
    raise Damaged(f"no image in the first {_MOST_SEGMENTS} segments")


def _segment(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the marker of the next segment, its start and its end."""
    while match := _MARKER.search(data, position):
        start = match.start()
        marker = data[start + 1]
        if marker == _EOI:
            break
        if marker in _STANDALONE:
            position = start + 2
            continue
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if end < start + 4 or end > len(data):
            break
        return marker, start, end
    raise Damaged("ends before the image")


def _prepared(data: bytes, scan: int, segments: list[bytes], frame: bytes, orientation: int) -> Prepared:
    if len(frame) < 7 or len(frame) < 7 + 3 * frame[6]:
        raise Damaged("a scan without a frame")
    if sum(map(len, segments)) > _MOST_TABLES:
        raise Damaged("more tables than an image needs")
    marker, precision, height, width, channels = struct.unpack_from(">BBHHB", frame)
    if precision != 8:
        raise Unsupported(f"expected a JPEG of 8 bits a channel, got {precision} bits; save it with 8")
    if channels not in (1, 3, 4):
        raise Unsupported(f"expected a JPEG of 1, 3 or 4 channels, got {channels}; save it in RGB or gray")
    pixel_bytes = 1.0 if channels == 1 else 4.0
    if marker in _ALWAYS_SEVERAL_SCANS or data[scan + 4] < channels:
        padded = (width + _LARGEST_BLOCK) * (height + _LARGEST_BLOCK)
        most = min(_MOST_SCANS, max(_ALWAYS_ALLOWED, int(_MOST_PASSES / padded)))
        if (len(data) - scan) / _SHORTEST_SCAN > most and _has_more_scans(data, scan, most):
            raise TooLarge(f"expected at most {most} scans, got more; save it as baseline JPEG")
        # The decoder stores all coefficients, 2 bytes each, until the last scan.
        factors = [divmod(f, 16) for f in frame[8 : 8 + 3 * channels : 3]]
        largest = max(h for h, _ in factors) * max(v for _, v in factors)
        pixel_bytes += 2 * sum(h * v for h, v in factors) / max(largest, 1)
    if sum(map(len, segments)) < scan:
        data = b"".join([*segments, memoryview(data)[scan:]])
    return Prepared("JPEG", data, (width, height), pixel_bytes, orientation=orientation)


def _has_more_scans(data: bytes, scan: int, most: int) -> bool:
    """Return whether there are more than `most` scans before the end of the image. Data after it are ignored."""
    if data.count(b"\xff\xda", scan) <= most:
        return False
    scans, position = 0, scan
    while scans <= most and (match := _MARKER_IN_SCAN.search(data, position)):
        marker, position = data[match.start() + 1], match.end()
        if marker == _EOI:
            break
        scans += marker == _SOS
        position += int.from_bytes(data[position : position + 2], "big")
    return scans > most
