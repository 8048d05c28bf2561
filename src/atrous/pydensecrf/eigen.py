"""Matrices and vectors as arrays of float32.

pydensecrf hands out matrices of Eigen behind the buffer protocol; here they are NumPy arrays, which all that is
done with a buffer (``np.array(Q)``, ``np.argmax(Q, axis=0)``, ``memoryview(Q)``) takes as well.
"""
# ruff: noqa: N802  names of pydensecrf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.pydensecrf._validation import as_float32


def matrixXf(arr: ArrayLike) -> NDArray[np.float32]:
    """Return a copy of a matrix, (rows, columns) float32. Raises InputError if it is none."""
    return as_float32("arr", arr, (None, None))


def vectorXf(arr: ArrayLike) -> NDArray[np.float32]:
    """Return a copy of a vector, (size,) float32. Raises InputError if it is none."""
    return as_float32("arr", arr, (None,))


def MatrixXf() -> NDArray[np.float32]:
    """Return an empty matrix, (0, 0) float32, such as `DenseCRF.stepInference` takes for its buffers."""
    return np.zeros((0, 0), np.float32)


def VectorXf() -> NDArray[np.float32]:
    """Return an empty vector, (0,) float32."""
    return np.zeros(0, np.float32)
