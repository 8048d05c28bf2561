"""Rotation and mirroring of frames by a video's display matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# The display matrix of an upright frame, in 16.16 fixed point; the third column is 2.30.
IDENTITY = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def is_transposed(matrix: Sequence[int]) -> bool:
    """Return whether rows become columns: a quarter turn to either side, mirrored or not."""
    a, b, _, c, d, *_ = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def upright(image: NDArray[np.uint8], matrix: Sequence[int]) -> NDArray[np.uint8]:
    """Rotate an (H, W, 3) image by quarter turns and mirror it, as a display matrix defines.

    Parameters
    ----------
    image : (H, W, 3) uint8
    matrix : 9 ints
        a, b, u, c, d, v, x, y, w: a point (x, y) of the stored frame is shown at (a x + c y, b x + d y), y downward
        (ISO 14496-12, section 6.2.2). Other angles are rounded to quarter turns.

    Returns
    -------
    (H, W, 3) or (W, H, 3) uint8
    """
    a, b, _, c, d, *_ = matrix
    if is_transposed(matrix):
        image = image.transpose(1, 0, 2)
        left, up = c < 0, b < 0
    else:
        left, up = a < 0, d < 0
    if left:
        image = image[:, ::-1]
    if up:
        image = image[::-1]
    return np.ascontiguousarray(image)
