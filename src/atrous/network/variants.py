"""The four networks of the paper as rows of a table: they differ in fc6 alone."""

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Variant:
    """One row of the table of fields of view of Chen et al. 2015 (numbers as in the authors' Caffe files).

    Attributes
    ----------
    name : str
        The paper's name, in lower case.
    kernel : int
        Side of fc6's square kernel, in taps.
    dilation : int
        Distance of two neighboring taps of fc6 ("input stride" in the paper), in cells of the
        stride-8 feature map.
    channels : int
        Outputs of fc6 and of fc7.
    """

    name: str
    kernel: int
    dilation: int
    channels: int

    @property
    def multiscale_name(self) -> str:
        """The paper's name of the network with multi-scale prediction: "deeplab-msc-largefov" and the like."""
        return "deeplab-msc" + self.name.removeprefix("deeplab")

    @property
    def padding(self) -> int:
        """Zero padding of fc6, in cells, that keeps the size of the feature map."""
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
    """Look a variant up by the paper's name.

    Raises
    ------
    InputError
        If there is no such name; the message lists the names there are.
    """
    try:
        return VARIANTS[name]
    except KeyError:
        raise InputError(f"variant {name!r} is unknown; expected one of {', '.join(VARIANTS)}") from None


def variant_of(network: str) -> tuple[str, bool]:
    """Return the variant's name of a network, and whether the network has multi-scale prediction.

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
        raise InputError(f"variant {network!r:.60} is unknown; expected one of {', '.join(networks)}")
    return networks[network]
