"""Receptive field, field of view and output stride of a network (Chen et al. 2015, section 3).

Cell (i, j) of the score grid lies on pixel (i, j) * `output_stride`, in the center of its receptive field.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from .deeplab import TRUNK
from .variants import Variant

# Step of VGG-16's last pool in pixels, in each direction.
VGG_STRIDE = 32


class Layer(NamedTuple):
    """Convolution or pool with a square kernel, padded so that stride 1 preserves the size."""

    name: str
    kind: Literal["convolution", "max", "average"]
    kernel: int
    stride: int = 1
    dilation: int = 1

    @property
    def padding(self) -> int:
        """Padding cells on each side."""
        return (self.kernel - 1) * self.dilation // 2


def layers(row: Variant) -> tuple[Layer, ...]:
    """Return the layers of a variant from the image to the scores, except those without a kernel (ReLU, dropout)."""
    table = []
    for i, (stage, spec) in enumerate(TRUNK.items(), start=1):
        for j in range(1, spec.convolutions + 1):
            table.append(Layer(f"{stage}_{j}", "convolution", 3, dilation=spec.dilation))
        table.append(Layer(f"pool{i}", "max", 3, stride=spec.pool_stride))
    table.append(Layer("pool5a", "average", 3))
    table.append(Layer("fc6", "convolution", row.kernel, dilation=row.dilation))
    return (*table, Layer("fc7", "convolution", 1), Layer("fc8", "convolution", 1))


def sliding_window(row: Variant) -> tuple[Layer, ...]:
    """Return the network before the hole algorithm, with one score every 32 pixels, as in VGG-16.

    All five pools have stride 2, and conv5 has no dilation. fc6 is VGG's 7x7, of which variants with fewer taps select
    every second or third.
    """
    table = []
    for layer in layers(row):
        if layer.kind == "average":
            continue
        stride = 2 if layer.kind == "max" else 1
        dilation = row.dilation * 8 // VGG_STRIDE if layer.name == "fc6" else 1
        table.append(layer._replace(stride=stride, dilation=dilation))
    return tuple(table)


def with_holes(table: Iterable[Layer], stride: int) -> Iterator[Layer]:
    """Apply the hole algorithm: the same scores and those in between, on a grid of `stride`.

    Layers that would decimate further get stride 1, and the taps of later layers are dilated, so that they read the
    same cells as before.

    Parameters
    ----------
    table : iterable of Layer
    stride : int
        Step of the dense score grid in pixels: a product of the first layers' strides.
    """
    reached = hole = 1
    for layer in table:
        step = layer.stride if reached * layer.stride <= stride else 1
        yield layer._replace(stride=step, dilation=layer.dilation * hole if layer.kernel > 1 else 1)
        reached *= step
        hole *= layer.stride // step


def output_stride(table: Iterable[Layer]) -> int:
    """Return the step of a network's score grid in pixels."""
    stride = 1
    for layer in table:
        stride *= layer.stride
    return stride


def receptive_field(table: Sequence[Layer]) -> int:
    """Return the side in pixels of the square of the image that affects one score."""
    side, stride = 1, 1
    for layer in table:
        side += (layer.kernel - 1) * layer.dilation * stride
        stride *= layer.stride
    return side


def field_of_view(row: Variant) -> int:
    """Return the paper's field of view in pixels: 224 or 128.

    It refers to fc6 alone, with each tap counted as a cell of VGG's last pool, which is 32 pixels wide: the 7 x 7 taps
    of VGG-16 cover its whole input, 224 x 224 pixels. From the first tap to the last there are (kernel - 1) * dilation
    cells of 8 pixels. The area that affects a score is larger, because each cell depends on more than its own pixels:
    see `receptive_field`.
    """
    return (row.kernel - 1) * row.dilation * output_stride(layers(row)) + VGG_STRIDE
