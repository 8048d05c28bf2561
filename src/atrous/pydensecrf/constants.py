"""The constants of pydensecrf, with its values."""

from enum import IntEnum


class KernelType(IntEnum):
    """How a kernel's features may be scaled by learned parameters.

    pydensecrf's Python face cannot set these, so they are ones (or the unit matrix), and the types do the same.
    """

    CONST_KERNEL = 0
    DIAG_KERNEL = 1
    FULL_KERNEL = 2


class NormalizationType(IntEnum):
    """What K becomes, with 1 a vector of ones."""

    NO_NORMALIZATION = 0  # K Q
    NORMALIZE_BEFORE = 1  # K (Q / K1)
    NORMALIZE_AFTER = 2  # K Q / K1
    NORMALIZE_SYMMETRIC = 3  # K1^-1/2 K (K1^-1/2 Q)
