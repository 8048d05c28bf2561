"""Image to scores to CRF to segmentation."""

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._resources import check_threads, is_integer
from ..backends import Engine
from ..crf import Bilateral, DenseCRF, Gaussian, Spatial
from ..crf.dense import NEGLIGIBLE
from ..crf.kernels import Kernel
from ..crf.presets import resolve
from ..crf.reduced import most_vertices
from ..data.metadata import CrfParameters
from ..errors import InputError
from ..image_io.decode import Photo, read_image
from .config import SavedSettings, load_engine
from .result import NetworkScores, Segmentation
from .upsample import zoomed_probabilities


class Segmenter:
    """Segments photos with a network and sharpens the result with a fully connected CRF.

    Parameters
    ----------
    model : path or Engine, optional
        An exported .onnx file, a training checkpoint's folder (needs PyTorch), a folder written by
        `save_pretrained`, or an engine built elsewhere; the bundled LargeFOV model if left out.
    crf : "model", None, a preset's name, CrfParameters or a sequence of kernels
        "model" takes the parameters that were tuned for the model; None leaves the CRF out. `sxy` counts
        pixels of the image that the network sees: for larger photos it grows with them.
    max_side : int
        Photos whose longer side is larger are scaled down to it for the network. The CRF sees them at full size.
    threads : int, optional
        Threads of network and CRF; all cores if left out.
    device : str, optional
        Where the network computes: "cpu", "cuda" or "cuda:N". If left out, on CUDA where a GPU and ONNX Runtime's
        or PyTorch's build for it are found, else on the CPU. The CRF always computes on the CPU.
    engine : str, optional
        What runs an exported model: "onnxruntime", or "openvino" (extra "openvino"; on the CPU). If left out, on the
        CPU of an x86-64 machine OpenVINO where it is installed, else ONNX Runtime.
    min_region : int, optional
        Smallest region of the labels in pixels: smaller ones get the label of their largest neighbor. 0: no limit.
        Default: 30 for an image of 513 x 513 pixels, in proportion to the area for other sizes.

    Raises
    ------
    InputError
        If the model cannot be loaded, the device cannot be used or an argument cannot be used.
    MissingExtra
        If the model or the engine needs a package that is not installed.

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
        max_side: int = 513,
        threads: int | None = None,
        device: str | None = None,
        engine: str | None = None,
        min_region: int | None = None,
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

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._turn = _turn(self.engine)

    def __call__(self, photo: Photo) -> Segmentation:
        """Segment one photo.

        Parameters
        ----------
        photo : path, PIL image or (H, W, 3) uint8 RGB array

        Returns
        -------
        Segmentation
            At the photo's own size, upright.
        """
        source = Path(photo) if isinstance(photo, (str, os.PathLike)) else None
        return self.segment(read_image(photo), source=source)

    def segment(
        self,
        image: NDArray[np.uint8],
        *,
        source: Path | None = None,
        threads: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Segmentation:
        """Segment one photo that is decoded already. Several threads may call this at the same time.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB, upright.
        source : Path, optional
            The file that it comes from, which names what is saved of it.
        threads : int, optional
            Threads of the CRF; the segmenter's own if left out. The result is the same for any number.
        check : callable, optional
            Called between network and CRF; what it raises is passed on.

        Returns
        -------
        Segmentation
            At the photo's own size.

        Raises
        ------
        InputError
            If the image has another shape or type.
        """
        image = _checked(image)
        size = image.shape[:2]
        network = self._network(image)
        if check is not None:
            check()
        whole = self._zoomed(network, network.inner)
        # Chosen at the network's size: all classes of a large photo would fill the memory.
        kept = None if network.inner == size else self._worth_zooming(whole)
        planes = whole if kept is None else None
        del whole
        reduction = 1
        if self.crf is not None:
            crf = self.dense_crf(image, threads=threads)
            reduction = crf.reduction
            planes, kept = self._sharpened(crf, network, planes, kept)
        elif planes is None:
            planes = self._zoomed(network, size, kept)
        return Segmentation(
            image,
            planes,
            self.classes,
            self.engine.metadata.palette,
            source,
            kept,
            network,
            reduction,
            self.min_region,
        )

    def _sharpened(
        self, crf: DenseCRF, network: NetworkScores, planes: NDArray[np.float32] | None, kept: NDArray[np.intp] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the CRF's planes and their classes.

        planes: of the classes `kept` (None for all) at the CRF's size, which are overwritten; None to interpolate them.
        """
        if crf.reduced is not None:
            marginals, left = self._sharpened(crf.reduced, network, None, kept)
            return crf.enlarged(marginals), left
        if planes is None:
            planes = self._zoomed(network, (crf.shape[0], crf.shape[1]), kept)
        inference = crf.infer(planes, out=planes)
        left = inference.kept
        return inference.probabilities[left], left if kept is None else kept[left]

    def probabilities(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the network alone says, zoomed to the photo's size.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (C, H, W) float32
            They sum to 1 at each pixel.

        Raises
        ------
        InputError
            If the image has another shape or type.
        """
        return self._zoomed(self._network(_checked(image)), image.shape[:2])

    def refine(self, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the CRF's marginals for (C, H, W) probabilities of an (H, W, 3) uint8 image.

        Classes that are improbable all over the photo are pruned, as `DenseCRF` tells, and get 0.
        """
        return probabilities if self.crf is None else self.dense_crf(image)(probabilities)

    def dense_crf(self, image: NDArray[np.uint8], *, threads: int | None = None) -> DenseCRF:
        """Return the CRF of an (H, W, 3) uint8 RGB image, its lattice built, for as many unaries as wanted.

        Of a noisy image, whose lattice would be too large, it is reduced: see `DenseCRF.reduced`.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.
        threads : int, optional
            The segmenter's own if left out.

        Raises
        ------
        InputError
            If the segmenter has none (`crf=None`), or the image has another shape or type.
        """
        if self.crf is None:
            raise InputError("crf=None: this segmenter has no CRF; give it one when it is made")
        height, width, _ = _checked(image).shape
        zoom = max(height, width) / max(self._inner_size(height, width))
        return _build_crf(image, self.crf, zoom, self.threads if threads is None else threads)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **options: Any,
    ) -> Self:
        """Load a segmenter from a folder or from the Hugging Face hub.

        Parameters
        ----------
        model : path or "organization/name"
            A folder that is here is read without a look at the network.
        revision : str, optional
            Branch, tag or commit on the hub.
        token, cache_dir, force_download, local_files_only
            As in huggingface_hub.
        **options
            Those of `Segmenter`; crf and max_side are the saved ones if left out.

        Raises
        ------
        InputError
            If there is no such model, or what is there is none.
        MissingExtra
            If the model is not here and huggingface_hub is not installed.

        Examples
        --------
        >>> segmenter = Segmenter.from_pretrained("organization/name", device="cuda")  # doctest: +SKIP
        """
        folder = Path(model)
        if folder.is_file():
            raise InputError(f"{folder}: is a file; Segmenter({os.fspath(model)!r}) reads it")
        if not folder.is_dir():
            if _is_path(os.fspath(model)):
                raise InputError(f"{folder}: no such folder; expected one by save_pretrained, or organization/name")
            from .hub import download

            folder = download(
                os.fspath(model),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        if (saved := SavedSettings.read(folder)) is not None:
            options = {"crf": saved.crf, "max_side": saved.max_side, **options}
        return cls(folder, **options)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        license: str | None = None,
        scores: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the model, its settings and a model card.

        `model.onnx`, or the weights `model.safetensors` of a network in PyTorch; `config.json`; and, unless there is
        one already, `README.md`.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        license : str, optional
            For the card: an identifier of the hub's, such as "mit" or "cc-by-4.0".
        scores : path, optional
            For the card: the file by `atrous evaluate --json`.

        Raises
        ------
        InputError
            If the engine is of another kind, the CRF has kernels that are nobody's preset, or `scores` is no such file.
        MissingExtra
            If huggingface_hub is not installed.
        """
        from .hub import save

        save(Path(folder), self.engine, self._settings(), license=license, scores=scores)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        scores: str | os.PathLike[str] | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload a segmenter of atrous",
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub; the repository is made if it is not there.

        Parameters
        ----------
        repo_id : str
            "organization/name".
        license, scores
            As in `save_pretrained`.
        private, token, commit_message, branch, create_pr
            As in huggingface_hub.

        Returns
        -------
        str
            The commit's address.

        Raises
        ------
        InputError
            As in `save_pretrained`, and if the hub cannot be reached or refuses.
        MissingExtra
            If huggingface_hub is not installed.
        """
        from .hub import push

        return push(
            repo_id,
            self.engine,
            self._settings(),
            license=license,
            scores=scores,
            private=private,
            token=token,
            commit_message=commit_message,
            branch=branch,
            create_pr=create_pr,
        )

    def _settings(self) -> SavedSettings:
        return SavedSettings.of(self.engine, self.crf, self.max_side)

    def _network(self, image: NDArray[np.uint8]) -> NetworkScores:
        height, width, _ = image.shape
        inner = self._inner_size(height, width)
        seen = image
        if inner != (height, width):
            # Pillow's bilinear filter widens with the reduction, so nothing is skipped.
            smaller = Image.fromarray(image).resize(inner[::-1], Image.Resampling.BILINEAR)
            seen = np.asarray(smaller)
        with self._turn:
            scores = self.engine.scores(seen)
        return NetworkScores(scores, inner, self.engine.metadata.output_stride)

    def _zoomed(
        self, network: NetworkScores, size: tuple[int, int], kept: NDArray[np.intp] | None = None
    ) -> NDArray[np.float32]:
        return zoomed_probabilities(network.scores, network.inner, size, kept=kept, stride=network.stride)

    def _worth_zooming(self, planes: NDArray[np.float32]) -> NDArray[np.intp]:
        if isinstance(self.crf, tuple) and any(kernel.compatibility is not None for kernel in self.crf):
            return np.arange(len(planes))  # which has an entry for each class
        largest = planes.max(axis=(1, 2))
        # With very many classes none may reach the limit anywhere.
        return np.flatnonzero(largest >= min(NEGLIGIBLE, largest.max()))

    def _inner_size(self, height: int, width: int) -> tuple[int, int]:
        scale = min(1.0, self.max_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def _turn(engine: Engine) -> AbstractContextManager[object]:
    # Of an engine that does not say so it is not known that it takes photos from several threads at once.
    return nullcontext() if getattr(engine, "several", False) else threading.Lock()


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # A photo of floats or of other channels would be segmented without complaint, and wrongly.
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"image: expected an (H, W, 3) uint8 array, got {type(image).__name__}; call the segmenter itself with"
            " other photos"
        )
    return read_image(image)


def _build_crf(
    image: NDArray[np.uint8], crf: CrfParameters | tuple[Kernel, ...], zoom: float, threads: int | None
) -> DenseCRF:
    if isinstance(crf, CrfParameters):
        kernels: list[Kernel] = [
            Spatial(weight=crf.spatial_weight, sxy=crf.spatial_sxy),
            Bilateral(weight=crf.weight, sxy=crf.sxy, srgb=crf.srgb),
        ]
        iterations, normalization = crf.iterations, crf.normalization
    else:
        kernels, iterations, normalization = list(crf), 10, "after"
    zoomed = [_zoomed(kernel, zoom) for kernel in kernels]
    return DenseCRF(
        image,
        zoomed,
        iterations=iterations,
        normalization=normalization,
        threads=threads,
        max_vertices=most_vertices(image, zoomed),
    )


def _zoomed(kernel: Kernel, zoom: float) -> Kernel:
    if isinstance(kernel, Gaussian):
        return kernel
    sxy = tuple(sigma * zoom for sigma in np.atleast_1d(kernel.sxy).tolist())
    return dataclasses.replace(kernel, sxy=sxy if len(set(sxy)) > 1 else sxy[0])


def _is_path(name: str) -> bool:
    """Tell what cannot be a name on the hub."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith(("/", ".onnx"))
