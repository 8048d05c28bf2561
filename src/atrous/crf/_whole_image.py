"""Inference on all points at once with the native model."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.crf._array_interop import like
from atrous.crf.result import Inference, label_type
from atrous.crf.unary import Unary


@dataclass(frozen=True)
class Settings:
    """Settings of one inference, as for `DenseCRF`."""

    iterations: int
    tolerance: float
    prune: float
    threads: int


class WholeImage:
    """Native model of all kernels, and its inference for unary terms in any layout.

    Parameters
    ----------
    model : _native.Model
    shape : tuple of int
        Of the variables.
    """

    def __init__(self, model: _native.Model, shape: tuple[int, ...]) -> None:
        self._model = model
        self._shape = shape
        self._potts: float | None = None

    def marginals(self, unary: Unary, out: NDArray[Any] | None, settings: Settings) -> NDArray[Any]:
        """Return the marginals, in `out` unless it is None."""
        q, out_is_zero = unary.marginals(out)
        for planes, out_planes in zip(unary.planes(unary.array), unary.planes(q), strict=True):
            self._run(unary, planes, settings, probabilities=out_planes, out_is_zero=out_is_zero)
        return _written(q, out)

    def label_maps(self, unary: Unary, out: NDArray[np.integer[Any]], settings: Settings) -> None:
        """Write the most probable labels to `out`, of `shape` or (B, *shape)."""
        for planes, label_map in zip(unary.planes(unary.array), out if unary.batch else [out], strict=True):
            flat = np.empty(planes.shape[1], np.int32)
            self._run(unary, planes, settings, labels=flat)
            label_map[...] = flat.reshape(self._shape)

    def inference(self, unary: Unary, settings: Settings, *, trace: bool, out: NDArray[np.float32] | None) -> Inference:
        """Return what `DenseCRF.infer` returns."""
        (planes,) = unary.planes(unary.array)
        flat = np.empty(planes.shape[1], np.int32)
        q, out_is_zero = unary.marginals(out)
        (out_planes,) = unary.planes(q)
        report = self._run(
            unary,
            planes,
            settings,
            probabilities=out_planes,
            out_is_zero=out_is_zero,
            in_place=unary.can_run_in_place(q),
            labels=flat,
            trace=trace,
        )
        energy = np.array(report.energy) + self._potts_energy(settings.threads) if trace else None
        return Inference(
            probabilities=like(unary.given, _written(q, out)),
            labels=like(unary.given, flat.astype(label_type(unary.labels)).reshape(self._shape)),
            steps=report.steps,
            active_labels=np.array(report.active_labels, np.intp),
            energy=energy,
            divergence=None if energy is None else energy - np.array(report.entropy),
        )

    def _potts_energy(self, threads: int) -> float:
        """Return the part of the energy that does not depend on Q.

        Potts is mu = 1 - I. The native code computes the energy of -I; this is the energy of the constant 1.
        """
        if self._potts is None:
            self._potts = 0.5 * self._model.potts_mass(threads)
        return self._potts

    def _run(self, unary: Unary, planes: NDArray[Any], settings: Settings, **outputs: Any) -> _native.Report:
        readable = unary.readable(planes)
        try:
            return self._model.infer(readable, energies=unary.name == "energies", **asdict(settings), **outputs)
        except ValueError:
            unary.check_values(readable)
            raise


def _written(q: NDArray[np.float32], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return `out` with the marginals q, or q if there is no `out`."""
    if out is None or q is out:
        return q
    out[...] = q
    return out
