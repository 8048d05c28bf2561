"""The four networks of the paper, which differ only in fc6."""

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Variant:
    """Row of the table of fields of view in Chen et al. 2015, with the numbers of the authors' Caffe files.

    Attributes
    ----------
    name : str
        Name in the paper, in lower case.
    kernel : int
        Side of fc6's square kernel, in taps.
    dilation : int
        Distance between neighboring taps of fc6 ("input stride" in the paper), in cells of the stride-8 feature map.
    channels : int
        Output channels of fc6 and fc7.
    """

    name: str
    kernel: int
    dilation: int
    channels: int

    @property
    def multiscale_name(self) -> str:
        """Name in the paper of the network with multi-scale prediction, such as "deeplab-msc-largefov"."""
        return "deeplab-msc" + self.name.removeprefix("deeplab")

    @property
    def padding(self) -> int:
        """Zero padding of fc6 in cells, which preserves the size of the feature map."""
        return (self.kernel - 1) * self.dilation // 2


VARIANTS = {
    row.name: row
    for row in (
        Variant("deeplab-7x7", kernel=7, dilation=4, channels=4096),
        Variant("deeplab", kernel=4, dilation=4, channels=4096),
        Variant("deeplab-4x4", kernel=4, dilation=8, channels=4096),
        Variant("deeplab-largefov", kernel=3, dilation=12, channels=1024),
    )
}
"""The paper's networks by name."""


def variant(name: str) -> Variant:
    """Return the variant with a name of the paper.

    Raises
    ------
    InputError
        If there is no such name. The message lists the known names.
    """
    try:
        return VARIANTS[name]
    except KeyError:
        raise InputError(f"variant: expected one of {', '.join(VARIANTS)}, got {name!r}") from None


def variant_of(network: str) -> tuple[str, bool]:
    """Return the name of a network's variant, and whether the network has multi-scale prediction.

    Raises
    ------
    InputError
        If there is no such network.

    Examples
    --------
    >>> variant_of("deeplab-msc-largefov")
    ('deeplab-largefov', True)
    """
    networks = {row.name: (row.name, False) for row in VARIANTS.values()}
    networks |= {row.multiscale_name: (row.name, True) for row in VARIANTS.values()}
    if network not in networks:
        raise InputError(f"variant: expected one of {', '.join(networks)}, got {network!r:.60}")
    return networks[network]
