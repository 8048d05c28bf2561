"""What a network's kernels, strides and dilations amount to (Chen et al. 2015, section 3).

A cell of the score grid lies on the pixel `output_stride` times its row and column, in the middle of what it sees.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from .deeplab import TRUNK
from .variants import Variant

# Pixels from one cell of VGG-16's last pool to the next, in each direction.
VGG_STRIDE = 32


class Layer(NamedTuple):
    """A convolution or pool: a square kernel, padded so that it keeps the size of what it reads if its stride is 1."""

    name: str
    kind: Literal["convolution", "max", "average"]
    kernel: int
    stride: int = 1
    dilation: int = 1

    @property
    def padding(self) -> int:
        """Cells on each side."""
        return (self.kernel - 1) * self.dilation // 2


def layers(row: Variant) -> tuple[Layer, ...]:
    """Return the layers of a variant from the image to the scores, those without a kernel (ReLU, dropout) left out."""
    table = []
    for i, (stage, spec) in enumerate(TRUNK.items(), start=1):
        for j in range(1, spec.convolutions + 1):
            table.append(Layer(f"{stage}_{j}", "convolution", 3, dilation=spec.dilation))
        table.append(Layer(f"pool{i}", "max", 3, stride=spec.pool_stride))
    table.append(Layer("pool5a", "average", 3))
    table.append(Layer("fc6", "convolution", row.kernel, dilation=row.dilation))
    return (*table, Layer("fc7", "convolution", 1), Layer("fc8", "convolution", 1))


def sliding_window(row: Variant) -> tuple[Layer, ...]:
    """Return the network that the hole algorithm set out from: one score every 32 pixels, as of VGG-16.

    All five pools have stride 2 and conv5 has no holes. fc6 is VGG's 7x7, of which the variants with fewer
    taps keep every second or third.
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
    """Make a network dense by the hole algorithm: the same scores, and those in between, on a grid of `stride`.

    Layers that would decimate further do not, and the taps of those after them spread, so that they
    meet the cells that they met before.

    Parameters
    ----------
    table : iterable of Layer
    stride : int
        Pixels from one cell of the dense scores to the next: a product of the first layers' strides.
    """
    reached = hole = 1
    for layer in table:
        kept = layer.stride if reached * layer.stride <= stride else 1
        yield layer._replace(stride=kept, dilation=layer.dilation * hole if layer.kernel > 1 else 1)
        reached *= kept
        hole *= layer.stride // kept


def output_stride(table: Iterable[Layer]) -> int:
    """Return the pixels from one cell of a network's scores to the next."""
    stride = 1
    for layer in table:
        stride *= layer.stride
    return stride


def receptive_field(table: Sequence[Layer]) -> int:
    """Return the side, in pixels, of the square of the image that one score depends on."""
    side, stride = 1, 1
    for layer in table:
        side += (layer.kernel - 1) * layer.dilation * stride
        stride *= layer.stride
    return side


def field_of_view(row: Variant) -> int:
    """Return what the paper calls field of view, in pixels: 224 or 128.

    It is fc6's alone, each of its taps counted as a cell of VGG's last pool, which is 32 pixels wide: the
    7 x 7 taps of VGG-16 view its whole input, 224 x 224 pixels. From the first tap to the last there are
    (kernel - 1) * dilation cells of 8 pixels. What a score really depends on is larger, as each cell
    depends on more than its own pixels: see `receptive_field`.
    """
    return (row.kernel - 1) * row.dilation * output_stride(layers(row)) + VGG_STRIDE
