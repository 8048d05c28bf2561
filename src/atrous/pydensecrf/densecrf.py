"""pydensecrf.densecrf: mean field in a fully connected CRF, over any points or over a picture's pixels."""
# ruff: noqa: N802  names of pydensecrf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous import _native
from atrous._resources import check_threads
from atrous.errors import InputError, InputTypeError
from atrous.pydensecrf import eigen
from atrous.pydensecrf._unary import ConstUnary, LogisticUnary, Unary, check_energies, logistic_energies
from atrous.pydensecrf._validation import (
    as_array,
    as_float32,
    check_finite,
    choice,
    compatibility_gains,
    standard_deviations,
    whole_number,
)
from atrous.pydensecrf.constants import KernelType, NormalizationType
from atrous.pydensecrf.pairwise import Pairwise, pairwise, points_of_a_tile

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "NO_NORMALIZATION",
    "ConstUnary",
    "DenseCRF",
    "DenseCRF2D",
    "KernelType",
    "LogisticUnary",
    "NormalizationType",
    "Unary",
    "eigen",
]

CONST_KERNEL = KernelType.CONST_KERNEL
DIAG_KERNEL = KernelType.DIAG_KERNEL
FULL_KERNEL = KernelType.FULL_KERNEL
NO_NORMALIZATION = NormalizationType.NO_NORMALIZATION
NORMALIZE_BEFORE = NormalizationType.NORMALIZE_BEFORE
NORMALIZE_AFTER = NormalizationType.NORMALIZE_AFTER
NORMALIZE_SYMMETRIC = NormalizationType.NORMALIZE_SYMMETRIC


# The ratio to the likeliest label below which a label is pruned: far below what changes a marginal by 1e-4.
_NEGLIGIBLE = 1e-6


class DenseCRF:
    """A fully connected CRF over points.

    Parameters
    ----------
    nvar : int
        Points.
    nlabels : int
        Labels that each may take.

    Raises
    ------
    InputError
        If one is no whole number from 1 on.
    """

    def __init__(self, nvar: int, nlabels: int) -> None:
        self._nvar = whole_number("nvar", nvar, 1)
        self._nlabel = whole_number("nlabels", nlabels, 1)
        self._threads = check_threads(None)
        self._line = 0
        self._terms: list[Pairwise] = []
        self._unary: NDArray[np.float32] | None = None  # (labels, points)

    def setUnaryEnergy(self, u: ArrayLike, f: ArrayLike | None = None) -> None:
        """Set the energies of each label at each point; they are copied.

        Parameters
        ----------
        u : (nlabels, nvar) array_like
            Minus the log of probabilities, say; infinity for an impossible label. With `f`: (nlabels, features).
        f : (features, nvar) array_like, optional
            The energies are then ``u @ f``.

        Raises
        ------
        InputError
            If the shape does not fit, a value is NaN or minus infinity, or a point has no possible label.
        """
        self._set_energies("u", as_float32("u", u, (None, None)) if f is None else logistic_energies("u", u, f))

    def setUnary(self, u: Unary) -> None:
        """Set the energies of a `ConstUnary` or `LogisticUnary`. Raises InputError if they do not fit."""
        if not isinstance(u, Unary) or u.energies is None:
            raise InputTypeError(f"u: expected a ConstUnary or LogisticUnary, got {type(u).__name__}")
        self._set_energies("u", u.energies.copy())

    def addPairwiseEnergy(
        self,
        features: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a Gaussian kernel, ``exp(-|f_i - f_j|^2 / 2)``.

        Parameters
        ----------
        features : (d, nvar) array_like
            Of each point, divided by the standard deviations; at most 255.
        compat : float, (nlabels,) or (nlabels, nlabels) array_like
            w: Potts, a cost -w where two points agree. A vector v: a cost +v[a] where both are a. A matrix: a
            cost for each pair of labels, made symmetric.
        kernel : {DIAG_KERNEL, CONST_KERNEL, FULL_KERNEL}
            All do the same, since nothing here learns a kernel's parameters.
        normalization : {NORMALIZE_SYMMETRIC, NORMALIZE_AFTER, NORMALIZE_BEFORE, NO_NORMALIZATION}

        Raises
        ------
        InputError
            If shapes do not fit, values are not finite, or the features lie too far apart for the lattice.
        """
        array = as_float32("features", features, (None, self._nvar))
        self._add(array, compat, kernel, normalization)

    def inference(self, niter: int) -> NDArray[np.float32]:
        """Return the marginals Q after some mean field steps.

        Parameters
        ----------
        niter : int

        Returns
        -------
        (nlabels, nvar) array of float32

        Raises
        ------
        InputError
            If no unary energy is set, or `niter` is no whole number from 0 on.
        """
        unary = self._energies()
        q = np.empty_like(unary)
        iterations = whole_number("niter", niter, 0)
        model = _native.Model(self._nvar)
        for term in self._terms:
            term.add_to(model)
        prune = _NEGLIGIBLE if all(term.potts and term.normalized for term in self._terms) else 0.0
        model.infer(unary, energies=True, iterations=iterations, prune=prune, threads=self._threads, probabilities=q)
        return q

    def startInference(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the marginals Q before the first step, and two buffers, which `stepInference` does not need."""
        return self.inference(0), eigen.MatrixXf(), eigen.MatrixXf()

    def stepInference(self, Q: NDArray[np.float32], tmp1: object, tmp2: object) -> None:
        """Take one mean field step, in place.

        Parameters
        ----------
        Q : (nlabels, nvar) array of float32
            As of `startInference`.
        tmp1, tmp2
            Not used.

        Raises
        ------
        InputError
            If Q has another shape or type, or no unary energy is set.
        """
        unary = self._energies()
        if not isinstance(Q, np.ndarray) or Q.dtype != np.float32 or Q.shape != unary.shape or not Q.flags.writeable:
            error = InputTypeError.unless(isinstance(Q, np.ndarray))
            raise error(f"Q: expected what startInference returned, {unary.shape} float32, got {_described(Q)}")
        scores = self._messages(np.ascontiguousarray(Q)) - unary
        scores -= scores.max(axis=0)
        np.exp(scores, out=scores)
        np.divide(scores, scores.sum(axis=0), out=Q)

    def klDivergence(self, Q: ArrayLike) -> float:
        """Return the Kullback-Leibler divergence of Q and the CRF, up to a constant, as pydensecrf defines it.

        ``sum Q log Q + sum Q unary - sum Q message``: each pair of points counts twice.

        Parameters
        ----------
        Q : (nlabels, nvar) array_like

        Raises
        ------
        InputError
            If the shape does not fit, a value is not finite, or no unary energy is set.
        """
        unary = self._energies()
        q = as_float32("Q", Q, unary.shape)
        check_finite("Q", q)
        total = np.vdot(q, np.log(np.maximum(q, np.float32(1e-20))).astype(np.float64))
        total += np.sum(q * unary, dtype=np.float64)
        total -= np.sum(q * self._messages(q), dtype=np.float64)
        return float(total)

    def _messages(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        messages = np.zeros_like(q)
        for term in self._terms:
            messages += term.message(q, self._threads)
        return messages

    def _set_energies(self, name: str, energies: NDArray[np.float32]) -> None:
        if energies.shape != (self._nlabel, self._nvar):
            raise InputError(
                f"{name}: expected shape {(self._nlabel, self._nvar)}, labels and points, got {energies.shape};"
                " give labels first and flatten the rest, U.reshape(nlabels, -1)"
            )
        self._unary = check_energies(name, energies)

    def _energies(self) -> NDArray[np.float32]:
        if self._unary is None:
            raise InputError("unary: expected energies, got none; call setUnaryEnergy before inference")
        return self._unary

    def _add(self, features: NDArray[np.float32], compat: ArrayLike, kernel: int, normalization: int) -> None:
        check_finite("features", features)
        gains = compatibility_gains(compat, self._nlabel)
        choice("kernel", kernel, KernelType)
        normalized = choice("normalization", normalization, NormalizationType)
        points = points_of_a_tile(features.shape[0])
        fewest = min([points, *(points_of_a_tile(term.features.shape[0]) for term in self._terms)])
        self._terms = [*self._with_tiles_of(fewest), self._pairwise(features, gains, normalized, fewest)]

    def _with_tiles_of(self, points: int) -> list[Pairwise]:
        """Return the terms, built anew if their lattices have larger tiles: a model's terms share them."""
        most = min((points_of_a_tile(term.features.shape[0]) for term in self._terms), default=points)
        if most == points:
            return self._terms
        return [self._pairwise(term.features, term.gains, term.normalization, points) for term in self._terms]

    def _pairwise(
        self, features: NDArray[np.float32], gains: NDArray[np.float32], normalization: NormalizationType, points: int
    ) -> Pairwise:
        return pairwise(features, gains, normalization, line=self._line, tile_points=points, threads=self._threads)


class DenseCRF2D(DenseCRF):
    """A fully connected CRF over the pixels of a picture, row by row.

    Parameters
    ----------
    w, h : int
        Width and height of the picture, in this order.
    nlabels : int

    Raises
    ------
    InputError
        If one is no whole number from 1 on.
    """

    def __init__(self, w: int, h: int, nlabels: int) -> None:
        self._w, self._h = whole_number("w", w, 1), whole_number("h", h, 1)
        super().__init__(self._w * self._h, nlabels)
        self._line = self._w

    def setUnaryEnergy(self, u: ArrayLike, f: ArrayLike | None = None) -> None:
        """Set the energies as `DenseCRF.setUnaryEnergy` does; (nlabels, h, w) will do as well."""
        array = as_array("u", u)
        if f is None and array.shape == (self._nlabel, self._h, self._w):
            u = array.reshape(self._nlabel, self._nvar)
        elif f is None and array.shape == (self._nlabel, self._w, self._h):
            raise InputError(
                f"u: expected shape {(self._nlabel, self._h, self._w)}, got {array.shape};"
                " DenseCRF2D takes the width first, then the height"
            )
        super().setUnaryEnergy(u, f)

    def addPairwiseGaussian(
        self,
        sxy: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a kernel of the pixels' positions.

        Parameters
        ----------
        sxy : float or (x, y)
            Standard deviation, in pixels.
        compat, kernel, normalization
            As for `addPairwiseEnergy`.

        Raises
        ------
        InputError
            As `addPairwiseEnergy`, and if a standard deviation is 0.
        """
        self._add(self._positions(sxy, 2), compat, kernel, normalization)

    def addPairwiseBilateral(
        self,
        sxy: ArrayLike,
        srgb: ArrayLike,
        rgbim: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a kernel of the pixels' positions and colors.

        Parameters
        ----------
        sxy : float or (x, y)
            Standard deviation of positions, in pixels.
        srgb : float or (r, g, b)
            Standard deviation of colors.
        rgbim : (h, w, 3) array_like of uint8
        compat, kernel, normalization
            As for `addPairwiseEnergy`.

        Raises
        ------
        InputError
            As `addPairwiseEnergy`, if the picture does not fit, or if a standard deviation is 0.
        """
        image = as_array("rgbim", rgbim)
        if image.shape != (self._h, self._w, 3):
            swapped = image.shape == (self._w, self._h, 3)
            many = image.ndim == 3 and image.shape[:2] == (self._h, self._w)
            remedy = (
                "DenseCRF2D takes the width first, then the height"
                if swapped
                else "for other channels use utils.create_pairwise_bilateral and addPairwiseEnergy"
                if many
                else "rows, columns, RGB"
            )
            raise InputError(f"rgbim: expected shape {(self._h, self._w, 3)}, got {image.shape}; {remedy}")
        if image.dtype != np.uint8:
            raise InputTypeError(f"rgbim: expected uint8, 0 to 255, got {image.dtype}; scale and convert it")
        features = self._positions(sxy, 5)
        colors = standard_deviations("srgb", srgb, 3)
        np.divide(image.reshape(-1, 3).T, colors[:, None], out=features[2:])
        self._add(features, compat, kernel, normalization)

    def _positions(self, sxy: ArrayLike, rows: int) -> NDArray[np.float32]:
        """Return (rows, h * w) whose first two rows are x / sx and y / sy; the rest is not set."""
        sigmas = standard_deviations("sxy", sxy, 2)
        features = np.empty((rows, self._h, self._w), np.float32)
        features[0] = np.arange(self._w, dtype=np.float32) / sigmas[0]
        features[1] = (np.arange(self._h, dtype=np.float32) / sigmas[1])[:, None]
        return features.reshape(rows, self._nvar)


def _described(value: object) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
