"""The CRF parameters of the released DeepLab models."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from atrous.crf.kernels import Bilateral, Gaussian, Kernel, Spatial
from atrous.errors import InputError, InputTypeError


def _released(weight: float, sxy: float, srgb: float) -> tuple[Kernel, ...]:
    # The spatial kernel was fixed at 3 and 3 and never searched: Chen et al. 2015, section 5.
    return (Spatial(weight=3, sxy=3), Bilateral(weight=weight, sxy=sxy, srgb=srgb))


# From the models' released inference scripts; normalization is "after", ten steps.
PRESETS: Mapping[str, tuple[Kernel, ...]] = MappingProxyType(
    {
        "deeplab": _released(weight=5, sxy=50, srgb=10),
        "deeplab-msc": _released(weight=3, sxy=95, srgb=3),
        "deeplab-largefov": _released(weight=4, sxy=121, srgb=5),
        "deeplab-msc-largefov": _released(weight=4, sxy=83, srgb=5),
        "deeplab-coco-largefov": _released(weight=5, sxy=69, srgb=5),
        "deeplab-msc-coco-largefov": _released(weight=4, sxy=59, srgb=5),
    }
)
"""The kernels of the released DeepLab models, by the models' names."""


def resolve(kernels: str | Sequence[Kernel]) -> tuple[Kernel, ...]:
    """Return the kernels of a preset's name, or those given.

    Raises InputError for an unknown name and for things that are no kernels.
    """
    if isinstance(kernels, str):
        if kernels not in PRESETS:
            raise InputError(f"kernels: expected a preset ({', '.join(PRESETS)}) or a list of kernels, got {kernels!r}")
        return PRESETS[kernels]
    if not isinstance(kernels, Sequence):
        raise InputTypeError(f"kernels: expected a list of Spatial, Bilateral or Gaussian, got {kernels!r}")
    given: list[Kernel] = []
    for kernel in kernels:
        if not isinstance(kernel, (Spatial, Bilateral, Gaussian)):
            raise InputTypeError(f"kernels: expected Spatial, Bilateral or Gaussian, got {kernel!r}")
        given.append(kernel)
    return tuple(given)
