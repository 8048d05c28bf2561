"""Segmenter: network, upsampling and CRF for one image."""

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._defaults import MAX_CRF_PIXELS, MAX_SIDE
from .._printable import printable
from .._resources import check_threads, is_integer
from ..backends import Engine
from ..crf import DenseCRF, Gaussian
from ..crf.kernels import Kernel
from ..crf.presets import resolve
from ..crf.pruning import NEGLIGIBLE
from ..crf.reduced import check_bound, most_vertices
from ..data.metadata import CrfParameters
from ..errors import InputError
from ..image_io.decode import ImageLike, read_image
from .config import load_engine
from .pretrained import Pretrained
from .result import NetworkScores, Segmentation
from .upsample import upsampled_probabilities

_RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "pytorch": "PyTorch"}


class Segmenter(Pretrained):
    """Segments images with a network and refines the result with a fully connected CRF.

    Parameters
    ----------
    model : path or Engine, optional
        An exported .onnx file, a folder of a training checkpoint (needs PyTorch), a folder of `save_pretrained`, or an
        engine. Default: the bundled LargeFOV model.
    crf : "model", None, a preset's name, CrfParameters or a sequence of kernels
        "model" uses the parameters that were tuned for the model; None disables the CRF. `sxy` is in pixels of the
        network's input image and is scaled with larger images.
    max_side : int
        Longest side for the network, in pixels. Larger images are scaled down for it.
    threads : int, optional
        Threads of network and CRF. Default: all cores.
    device : str, optional
        Device of the network: "cpu", "cuda" or "cuda:N". Default: CUDA if there is a GPU and a build of ONNX Runtime or
        PyTorch for it, else the CPU. The CRF always runs on the CPU.
    engine : str, optional
        Runtime of an exported model: "onnxruntime", or "openvino" (extra "openvino"; on the CPU). Default: on the CPU
        of an x86-64 machine OpenVINO if it is installed, else ONNX Runtime.
    min_region : int, optional
        Smallest region of the labels in pixels: smaller ones get the label of their largest neighbor. 0: no limit.
        Default: 30 for an image of 513 x 513 pixels, in proportion to the area for other sizes.
    max_crf_pixels : int or None
        Largest image for the CRF, in pixels. For a larger one the CRF runs on means of 2 x 2 (4 x 4, ...) pixels, and
        its marginals are interpolated. None: no limit.

    Raises
    ------
    InputError
        If the model cannot be loaded, the device is not available or an argument is invalid.
    MissingExtra
        If a package for the model or the engine is not installed.

    Examples
    --------
    >>> segmenter = Segmenter()  # doctest: +SKIP
    >>> segmenter("photo.jpg").save("segmentation")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Engine | None = None,
        *,
        crf: str | CrfParameters | Sequence[Kernel] | None = "model",
        max_side: int = MAX_SIDE,
        threads: int | None = None,
        device: str | None = None,
        engine: str | None = None,
        min_region: int | None = None,
        max_crf_pixels: int | None = MAX_CRF_PIXELS,
    ) -> None:
        if min_region is not None and (not is_integer(min_region) or min_region < 0):
            raise InputError(f"min_region={min_region!r}: expected a whole number of pixels, 0 for no limit")
        if not is_integer(max_side) or max_side < 1:
            raise InputError(f"max_side={max_side!r}: expected a whole number of pixels, 1 or more")
        if threads is not None:
            check_threads(threads)
        self.engine = load_engine(model, threads=threads, device=device, engine=engine)
        self._turn = _turn(self.engine)
        self.max_side = max_side
        self.min_region = min_region
        self.max_crf_pixels = check_bound("max_crf_pixels", max_crf_pixels)
        self.threads = threads
        metadata = self.engine.metadata
        self.classes = metadata.classes
        self.crf: CrfParameters | tuple[Kernel, ...] | None
        if crf == "model":
            self.crf = metadata.crf
        elif crf is None or isinstance(crf, CrfParameters):
            self.crf = crf
        else:
            self.crf = resolve(crf)

    def __repr__(self) -> str:
        # An engine of the caller may have no name, device or file.
        name = getattr(self.engine, "name", "")
        runtime = _RUNTIMES.get(name, name or type(self.engine).__name__)
        model = printable(Path(getattr(self.engine, "path", "")).name or type(self.engine).__name__)
        device = f" ({device})" if (device := getattr(self.engine, "device", "")) else ""
        crf = "no CRF"
        if isinstance(self.crf, CrfParameters):
            crf = f"CRF weight {self.crf.weight:g}, sxy {self.crf.sxy:g}, srgb {self.crf.srgb:g}"
        elif self.crf is not None:
            crf = f"CRF {', '.join(map(repr, self.crf))}"
        return f"<Segmenter {model} on {runtime}{device}: {len(self.classes)} classes, max_side {self.max_side}, {crf}>"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._turn = _turn(self.engine)

    def __call__(self, image: ImageLike) -> Segmentation:
        """Segment one image.

        Parameters
        ----------
        image : path, PIL image or (H, W, 3) uint8 RGB array

        Returns
        -------
        Segmentation
            At the image's full size, upright.
        """
        source = Path(image) if isinstance(image, (str, os.PathLike)) else None
        return self.segment(read_image(image), source=source)

    def segment(
        self,
        image: NDArray[np.uint8],
        *,
        source: Path | None = None,
        threads: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Segmentation:
        """Segment one decoded image. Several threads may call this at the same time.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB, upright.
        source : Path, optional
            The image's file, which determines the names of saved outputs.
        threads : int, optional
            Threads of the CRF and the upsampling. Default: the segmenter's. They do not change the result.
        check : callable, optional
            Called between network and CRF; its exceptions are propagated.

        Returns
        -------
        Segmentation
            At the image's full size.

        Raises
        ------
        InputError
            If the image has another shape or dtype.
        """
        image = _checked(image)
        size = image.shape[:2]
        threads = self.threads if threads is None else threads
        network = self._network(image)
        if check is not None:
            check()
        whole = self._upsampled(network, network.inner, threads=threads)
        # Selected at the network's size: all classes of a large image could exceed the memory.
        active = None if network.inner == size else self._active_classes(whole)
        planes = whole if active is None else None
        del whole
        reduction = 1
        if self.crf is not None:
            crf = self.dense_crf(image, threads=threads)
            reduction = crf.reduction
            planes, active = self._refined(crf, network, planes, active, threads)
        elif planes is None:
            planes = self._upsampled(network, size, active, threads)
        return Segmentation(
            image,
            planes,
            self.classes,
            self.engine.metadata.palette,
            source,
            active,
            network,
            reduction,
            self.min_region,
        )

    def _refined(
        self,
        crf: DenseCRF,
        network: NetworkScores,
        planes: NDArray[np.float32] | None,
        active: NDArray[np.intp] | None,
        threads: int | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the CRF's planes and their classes.

        planes: probabilities of `active` (None: all classes) at the CRF's size, overwritten; None to interpolate them.
        """
        if crf.reduced is not None:
            marginals, remaining = self._refined(crf.reduced, network, None, active, threads)
            return crf.enlarged(marginals), remaining
        if planes is None:
            planes = self._upsampled(network, (crf.shape[0], crf.shape[1]), active, threads)
        inference = crf.infer(planes, out=planes)
        remaining = inference.active_labels
        return inference.probabilities[remaining], remaining if active is None else active[remaining]

    def probabilities(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's probabilities, upsampled to the image's size.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (C, H, W) float32
            Probabilities that sum to 1 at each pixel.

        Raises
        ------
        InputError
            If the image has another shape or dtype.
        """
        return self._upsampled(self._network(_checked(image)), image.shape[:2], threads=self.threads)

    def refine(self, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the CRF's marginals for (C, H, W) probabilities of an (H, W, 3) uint8 image.

        Classes that are improbable in the whole image are pruned, as in `DenseCRF`, and get probability 0.
        """
        return probabilities if self.crf is None else self.dense_crf(image)(probabilities)

    def dense_crf(self, image: NDArray[np.uint8], *, threads: int | None = None) -> DenseCRF:
        """Return the CRF of an (H, W, 3) uint8 RGB image, for any number of unary terms.

        For a large image, or a noisy one with too many lattice vertices, the CRF is reduced: see `DenseCRF.reduced`.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.
        threads : int, optional
            Default: the segmenter's threads.

        Raises
        ------
        InputError
            If the segmenter has no CRF (`crf=None`), or the image has another shape or dtype.
        """
        if self.crf is None:
            raise InputError("crf=None: this segmenter has no CRF; create one with crf='model'")
        height, width, _ = _checked(image).shape
        scale = max(height, width) / max(self._inner_size(height, width))
        threads = self.threads if threads is None else threads
        return _build_crf(image, self.crf, scale, threads, self.max_crf_pixels)

    def _network(self, image: NDArray[np.uint8]) -> NetworkScores:
        height, width, _ = image.shape
        inner = self._inner_size(height, width)
        seen = image
        if inner != (height, width):
            # Pillow's bilinear filter widens with the reduction, which prevents aliasing.
            smaller = Image.fromarray(image).resize(inner[::-1], Image.Resampling.BILINEAR)
            seen = np.asarray(smaller)
        with self._turn:
            scores = self.engine.scores(seen)
        return NetworkScores(scores, inner, self.engine.metadata.output_stride)

    def _upsampled(
        self,
        network: NetworkScores,
        size: tuple[int, int],
        classes: NDArray[np.intp] | None = None,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        return upsampled_probabilities(
            network.scores, network.inner, size, classes=classes, stride=network.stride, threads=threads
        )

    def _active_classes(self, planes: NDArray[np.float32]) -> NDArray[np.intp]:
        if isinstance(self.crf, tuple) and any(kernel.compatibility is not None for kernel in self.crf):
            return np.arange(len(planes))  # has an entry for each class
        largest = planes.max(axis=(1, 2))
        # With very many classes, none may reach the limit.
        return np.flatnonzero(largest >= min(NEGLIGIBLE, largest.max()))

    def _inner_size(self, height: int, width: int) -> tuple[int, int]:
        scale = min(1.0, self.max_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def _turn(engine: Engine) -> AbstractContextManager[object]:
    # Engines without the attribute `several` may not be thread-safe.
    return nullcontext() if getattr(engine, "several", False) else threading.Lock()


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Float images and images with other channels would give wrong results without an error.
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"image: expected an (H, W, 3) uint8 array, got {type(image).__name__}; call the segmenter itself for"
            " other images"
        )
    return read_image(image)


def _build_crf(
    image: NDArray[np.uint8],
    crf: CrfParameters | tuple[Kernel, ...],
    scale: float,
    threads: int | None,
    max_points: int | None,
) -> DenseCRF:
    if isinstance(crf, CrfParameters):
        kernels: tuple[Kernel, ...] = crf.kernels
        iterations, normalization = crf.iterations, crf.normalization
    else:
        kernels, iterations, normalization = crf, 10, "after"
    scaled = [_scaled(kernel, scale) for kernel in kernels]
    return DenseCRF(
        image,
        scaled,
        iterations=iterations,
        normalization=normalization,
        threads=threads,
        max_vertices=most_vertices(image, scaled),
        max_points=max_points,
    )


def _scaled(kernel: Kernel, scale: float) -> Kernel:
    if isinstance(kernel, Gaussian):
        return kernel
    sxy = tuple(sigma * scale for sigma in np.atleast_1d(kernel.sxy).tolist())
    return dataclasses.replace(kernel, sxy=sxy if len(set(sxy)) > 1 else sxy[0])
