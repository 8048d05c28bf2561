"""What a segmenter returns."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..atomic import replacing
from ..palette import overlay, write_labels


@dataclass(frozen=True)
class Segmentation:
    """A photo's labels and what they were taken from.

    Attributes
    ----------
    image : (H, W, 3) uint8
        The photo, RGB.
    probabilities : (C, H, W) float32
        Of each class at each pixel.
    classes : tuple of str
        Names by id, background first.
    palette : tuple of (red, green, blue)
    source : Path or None
        The photo's file, if it came from one.
    """

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    source: Path | None = None

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The most probable class of each pixel, (H, W) uint8."""
        return self.probabilities.argmax(axis=0).astype(np.uint8)

    def shares(self) -> dict[str, float]:
        """Return each class that occurs with its share of the pixels, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = sorted(np.flatnonzero(counts), key=lambda c: -counts[c])
        return {self.classes[c]: float(counts[c] / self.labels.size) for c in order}

    def overlay(self) -> Image.Image:
        """Draw the regions over the photo, outlined and named."""
        return overlay(self.image, self.labels, self.classes, self.palette)

    def save(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        overlay: bool = True,
        probabilities: bool = False,
    ) -> Path:
        """Write `<name>.png` (label ids, VOC's palette), `<name>.overlay.jpg`, `<name>.probabilities.npy`.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        name : str, optional
            Without suffix; the photo's own if left out ("segmentation" if it has none).
        overlay, probabilities : bool
            Whether to write these too; probabilities are (C, H, W) float16.

        Returns
        -------
        Path
            Of the mask.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if name is None:
            name = self.source.stem if self.source else "segmentation"
        if probabilities:
            with replacing(folder / f"{name}.probabilities.npy") as temporary, temporary.open("wb") as file:
                np.save(file, self.probabilities.astype(np.float16))
        if overlay:
            with replacing(folder / f"{name}.overlay.jpg") as temporary:
                self.overlay().save(temporary, format="JPEG", quality=92)
        mask = folder / f"{name}.png"
        write_labels(mask, self.labels, self.palette)
        return mask
