"""Result of a segmentation: labels, probabilities, overlays, cut-outs and files."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageFilter

from .._io import transaction
from .._printable import printable
from ..errors import InputError
from ..labelmap import overlay
from ..labelmap.class_names import class_id, is_background
from ..labelmap.outlines import polygons
from ..labelmap.overlay import OPACITY, overlay_jpeg
from ..labelmap.png import is_label_map, label_png, made_here, png_bytes
from ..labelmap.regions import remove_small_regions

_NOTEBOOK_SIDE = 1024  # pixels


@dataclass(frozen=True)
class NetworkScores:
    """Scores of the network, before the CRF.

    Attributes
    ----------
    scores : (C, h, w) float32
        On the grid of `stride`.
    inner : (height, width)
        Size of the network's input image, without padding.
    stride : int
        Pixels of the input image per cell of the grid.
    """

    scores: NDArray[np.float32]
    inner: tuple[int, int]
    stride: int = 8


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segmentation of one image.

    Attributes
    ----------
    image : (H, W, 3) uint8
        RGB, upright.
    planes : (K, H, W) float32
        Probabilities of the classes in `kept`.
    classes : tuple of str
        Class names by id.
    palette : tuple of (red, green, blue)
        Colors of the label map by class id.
    source : Path or None
        File of the image. None: the image was not read from a file.
    kept : (K,) int or None
        Class ids of `planes`; the other classes have probability 0. None: all classes, in order.
    network : NetworkScores or None
        Scores before the CRF.
    reduction : int
        Side of the pixel blocks on which the CRF was computed; above 1 only for large or very noisy images.
    min_region : int or None
        Smallest region of `labels` in pixels; see `atrous.labelmap.remove_small_regions`. 0: no limit.
    only : tuple of str or None
        Classes of `labels`; pixels of others get label 0. None: all classes.
    """

    image: NDArray[np.uint8]
    planes: NDArray[np.float32]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    source: Path | None = None
    kept: NDArray[np.intp] | None = None
    network: NetworkScores | None = None
    reduction: int = 1
    min_region: int | None = None
    only: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        height, width, _ = self.image.shape
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.shares().items())
        source = f" of {printable(self.source)}" if self.source else ""
        return f"<Segmentation {width}x{height}{source}: {shares}>"

    def _repr_png_(self) -> bytes:
        # A notebook stores the whole picture, so a large one is scaled down.
        drawn = self.overlay()
        drawn.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
        content = io.BytesIO()
        drawn.save(content, format="PNG")
        return content.getvalue()

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """Most probable class of each pixel without small regions, (H, W) uint8."""
        labels = remove_small_regions(most_probable(self.planes, self.kept), self.min_region)
        if self.only is not None:
            labels[~np.isin(labels, [class_id(name, self.classes) for name in self.only])] = 0
        return labels

    def select(self, *names: str) -> "Segmentation":
        """Return the same segmentation with only these classes; pixels of others get label 0.

        Raises
        ------
        InputError
            If a name is not among the classes.
        """
        for name in names:
            class_id(name, self.classes)
        return replace(self, only=names)

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return the pixels of a class, (H, W) bool.

        Raises
        ------
        InputError
            If the name is not among the classes.
        """
        return self.labels == class_id(name, self.classes)

    def cutout(self, *names: str) -> Image.Image:
        """Cut classes out of the image.

        Parameters
        ----------
        *names : str
            Classes to cut out. Default: all classes but the background.

        Returns
        -------
        RGBA image
            Transparent and black outside these classes, with edges softened by about a pixel.

        Raises
        ------
        InputError
            If a name is not among the classes.
        """
        ids = [class_id(name, self.classes) for name in names] or [
            i for i, name in enumerate(self.classes) if not is_background(name)
        ]
        mask = Image.fromarray(np.where(np.isin(self.labels, ids), np.uint8(255), np.uint8(0)))
        alpha = np.asarray(mask.filter(ImageFilter.GaussianBlur(max(0.6, max(self.labels.shape) / 1500))))
        # Whoever drops the transparency must not see the rest of the photo.
        return Image.fromarray(np.dstack([np.where(alpha[..., None] > 0, self.image, np.uint8(0)), alpha]))

    def polygons(self) -> dict[str, list[NDArray[np.int32]]]:
        """Return the outlines of each class that occurs, without the background; see `atrous.labelmap.polygons`."""
        found = np.unique(self.labels).tolist()
        return {
            self.classes[label]: polygons(self.labels == label)
            for label in found
            if not is_background(self.classes[label])
        }

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Probabilities of all classes, (C, H, W) float32. They need much memory for large images; see `planes`."""
        return self._full(np.float32)

    @cached_property
    def dcnn_labels(self) -> NDArray[np.uint8] | None:
        """Most probable class of each pixel before the CRF, (H, W) uint8. None if no network ran."""
        if self.network is None:
            return None
        from .upsample import upsampled_probabilities

        height, width, _ = self.image.shape
        network = self.network
        present = np.unique(network.scores.argmax(axis=0))
        planes = upsampled_probabilities(
            network.scores, network.inner, (height, width), classes=present, stride=network.stride
        )
        return most_probable(planes, present)

    def shares(self) -> dict[str, float]:
        """Return the share of the pixels of each class that occurs, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = sorted(np.flatnonzero(counts), key=lambda c: -counts[c])
        return {self.classes[c]: float(counts[c] / self.labels.size) for c in order}

    def overlay(self, *, opacity: float = OPACITY, palette: ArrayLike | None = None, names: bool = True) -> Image.Image:
        """Draw the regions over the image, outlined and named.

        Parameters
        ----------
        opacity : float
            Share of a region's color in its pixels, 0 to 1.
        palette : (n, 3), optional
            Colors by class id. Default: the label map's; VOC's are replaced by vivid ones.
        names : bool
            Whether to write class names on the regions.
        """
        palette = self.palette if palette is None else palette
        return overlay(self.image, self.labels, self.classes, palette, opacity=opacity, names=names)

    def save(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        overlay: bool = True,
        probabilities: bool = False,
        cutout: bool | Sequence[str] = False,
        opacity: float = OPACITY,
        palette: ArrayLike | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> Path:
        """Write the mask `<name>.png` and optionally `.overlay.jpg`, `.cutout.png` and `.probabilities.npy`.

        Either all of them are written or none; existing files are replaced. The mask is moved to its path last, so the
        other files exist if it does.

        Parameters
        ----------
        folder : path
            Created if it does not exist.
        name : str, optional
            Name without suffix. Default: the image's name, or "segmentation" if it has none.
        overlay, probabilities : bool
            Whether to write these files, too; probabilities are (C, H, W) float16.
        cutout : bool or sequence of str
            Whether to write a cut-out of all classes but the background, or the classes of the cut-out.
        opacity, palette : optional
            Arguments of `overlay`.
        keys : mapping of str to str, optional
            Texts to store in the mask and the cut-out, by the suffixes `.png` and `.cutout.png`. They are read by
            `atrous.labelmap.stored_key`.

        Returns
        -------
        Path
            Path of the mask.

        Raises
        ------
        InputError
            If an output is the image itself.
        OSError
            If a file cannot be written. The error names the file.
        """
        folder = Path(folder)
        if name is None:
            name = self.source.stem if self.source else "segmentation"
        targets = output_files(folder, name, overlay=overlay, probabilities=probabilities, cutout=cutout is not False)
        keys = keys or {}
        for target in targets:
            refuse_source(target, self.source)
        folder.mkdir(parents=True, exist_ok=True)
        with transaction() as outputs:
            for target in targets:
                path = outputs.file(target)
                if target.suffix == ".npy":
                    _write_array(path, self._full(np.float16))
                elif target.suffix == ".jpg":
                    path.write_bytes(overlay_jpeg(self.overlay(opacity=opacity, palette=palette)))
                elif target != targets[0]:
                    names = () if isinstance(cutout, bool) else cutout
                    path.write_bytes(png_bytes(self.cutout(*names), keys.get(".cutout.png")))
                else:
                    path.write_bytes(label_png(self.labels, self.palette, keys.get(".png")))
        return targets[0]

    def _full(self, dtype: type[np.floating]) -> NDArray:  # type: ignore[type-arg]
        if self.kept is None:
            return self.planes.astype(dtype, copy=False)
        full = np.zeros((len(self.classes), *self.planes.shape[1:]), dtype)
        full[self.kept] = self.planes
        return full


def most_probable(planes: NDArray[np.float32], ids: NDArray[np.intp] | None = None) -> NDArray[np.uint8]:
    """Return the id of the largest of (K, H, W) planes at each pixel; the first one of equal planes.

    Several times as fast as `argmax(axis=0)`, whose memory access jumps between the planes.
    """
    labels = np.full(planes.shape[1:], 0 if ids is None else ids[0], np.uint8)
    best = planes[0].copy()
    for k in range(1, len(planes)):
        better = planes[k] > best
        np.copyto(best, planes[k], where=better)
        labels[better] = k if ids is None else ids[k]
    return labels


def output_files(folder: Path, name: str, *, overlay: bool, probabilities: bool, cutout: bool = False) -> list[Path]:
    """Return the output files of `Segmentation.save`, the mask first."""
    chosen = {".overlay.jpg": overlay, ".cutout.png": cutout, ".probabilities.npy": probabilities}
    return [folder / (name + suffix) for suffix in (".png", *(suffix for suffix, written in chosen.items() if written))]


def refuse_source(target: Path, source: Path | None) -> None:
    """Raise InputError if writing `target` would overwrite the image itself."""
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is the image itself and would be replaced by its mask; choose another folder")


def outputs_missing(targets: Sequence[Path], *, again: bool = False) -> bool:
    """Return whether to write the output files of `Segmentation.save`: one is missing, or `again` is set.

    If one is missing, for example after a kill, all outputs of the image are written again.

    Parameters
    ----------
    targets : sequence of Path
        Paths from `output_files`.
    again : bool
        Whether to write them even if all exist.

    Raises
    ------
    InputError
        If a file of this name exists that `Segmentation.save` did not write.
    """
    there = [target for target in targets if target.exists() or target.is_symlink()]
    complete = len(there) == len(targets) and not again
    for target in there[: 1 if complete else None]:
        # A mask that was edited in another program is still a label map.
        if not (is_label_map(target) if complete else _is_output(target)):
            raise InputError(f"{target}: exists and was not written by atrous; move it away or overwrite it")
    return not complete


def _is_output(path: Path) -> bool:
    if path.suffix != ".npy":
        return made_here(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return array.dtype == np.float16 and array.ndim == 3


def _write_array(path: Path, array: NDArray[np.float16]) -> None:
    """Write the output of `numpy.save`, which does not detect a disk that becomes full in the last bytes."""
    array = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(array.data.cast("B"))
