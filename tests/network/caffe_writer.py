"""Bytes of Caffe's model files, put together by hand: nothing here is shared with the reader."""

import struct

import numpy as np


def varint(number):
    number &= (1 << 64) - 1  # negative numbers are written as 64 bits
    groups = []
    while True:
        groups.append(number & 0x7F)
        number >>= 7
        if not number:
            break
    return bytes(group | 0x80 for group in groups[:-1]) + bytes([groups[-1]])


def number_field(field, number):
    return varint(field << 3) + varint(number)


def bytes_field(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(array, *, shape="new", numbers="packed"):
    """`shape`: "new" (any dimensions) or "old" (num, channels, height, width).

    `numbers`: "packed", "loose", "chunks", "double", "loose double", "half", "raw float" or "raw double".
    """
    array = np.asarray(array)
    flat = array.astype(np.float32).ravel()
    if numbers == "packed":
        content = bytes_field(5, flat.astype("<f4").tobytes())
    elif numbers == "loose":
        content = b"".join(varint(5 << 3 | 5) + struct.pack("<f", x) for x in flat)
    elif numbers == "chunks":
        middle = len(flat) // 2
        content = b"".join(bytes_field(5, part.astype("<f4").tobytes()) for part in (flat[:middle], flat[middle:]))
    elif numbers == "double":
        content = bytes_field(8, array.astype("<f8").tobytes())
    elif numbers == "loose double":
        content = b"".join(varint(8 << 3 | 1) + struct.pack("<d", x) for x in array.ravel())
    else:
        kind, dtype = {"half": (2, "<f2"), "raw float": (1, "<f4"), "raw double": (0, "<f8")}[numbers]
        content = number_field(10, kind) + bytes_field(12, array.astype(dtype).tobytes())
    if shape == "new":
        sides = bytes_field(7, bytes_field(1, b"".join(varint(side) for side in array.shape)))
    else:
        four = (1,) * (4 - array.ndim) + array.shape
        sides = b"".join(number_field(i, side) for i, side in enumerate(four, start=1))
    gradient = bytes_field(6, np.zeros(3, "<f4").tobytes())  # some snapshots keep them; nobody reads them here
    return sides + content + gradient


def old_layer(name, blobs=(), bottoms=(), tops=(), kind=4):
    fields = [bytes_field(2, b) for b in bottoms] + [bytes_field(3, t) for t in tops]
    fields += [bytes_field(4, name), number_field(5, kind)] + [bytes_field(6, b) for b in blobs]
    return bytes_field(2, b"".join(fields))


def new_layer(name, blobs=(), bottoms=(), tops=(), kind="Convolution"):
    fields = [bytes_field(1, name), bytes_field(2, kind)]
    fields += [bytes_field(3, b) for b in bottoms] + [bytes_field(4, t) for t in tops]
    fields += [bytes_field(7, b) for b in blobs]
    return bytes_field(100, b"".join(fields))


def model(layers, name="VGG_ILSVRC_16_layers"):
    """Layers as bytes to the bytes of a file, with the input's description that Caffe writes before them."""
    return bytes_field(1, name) + bytes_field(3, "data") + number_field(4, 10) + b"".join(layers)


def chain(layers, *, old, shape="new", numbers="packed"):
    """A {name: (weight, bias)} as a model whose layers stand one after another, with a ReLU in place after each."""
    write = old_layer if old else new_layer
    before, written = "data", []
    for name, arrays in layers.items():
        blobs = [blob(a, shape=shape, numbers=numbers) for a in arrays]
        written.append(write(name, blobs, [before], [name]))
        written.append(write(f"relu_{name}", [], [name], [name], **({"kind": 18} if old else {"kind": "ReLU"})))
        before = name
    return model(written)
