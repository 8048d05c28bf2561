"""Photo to segmentation, and again from kept scores with other parameters of the CRF."""

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.metadata import CrfParameters, ModelMetadata
from ..data.unary_io import class_names, read_probabilities
from ..labelmap import read_labels, voc_palette
from ..segmenter import Segmentation, Segmenter
from ..segmenter.result import NetworkScores, most_probable
from .pictures import check_mask
from .refused import Refused, refusing

LARGE = 4_000_000  # pixels
MOST_NUMBERS = 128_000_000  # of probabilities, pixels times labels: half a gigabyte of them


@dataclass(frozen=True)
class KeptScores:
    """An engine that answers with the scores it was given, so that only the CRF is computed again."""

    metadata: ModelMetadata
    kept: NetworkScores

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the kept scores; `image` is the photo they were computed from."""
        return self.kept.scores


@dataclass(frozen=True, eq=False)
class Kept:
    """A photo and what the network said of it."""

    image: NDArray[np.uint8]
    network: NetworkScores
    source: Path

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return self.image.nbytes + self.network.scores.nbytes


class KeptPhotos:
    """The photos that are tried with other parameters; those used longest ago make room."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, kept: Kept) -> None:
        """Keep a photo, the last one included if it alone is too large for the bound."""
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(k.bytes for k in self._kept.values()) > self.max_bytes:
                self._kept.popitem(last=False)

    def get(self, key: str) -> Kept | None:
        """Return a photo if it is still there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def forget(self, key: str) -> None:
        """Let a photo go."""
        with self._lock:
            self._kept.pop(key, None)

    def __len__(self) -> int:
        return len(self._kept)


class Studio:
    """Everything that the page and the HTTP interface compute, without either.

    Parameters
    ----------
    segmenter : Segmenter
        Its network, `max_side` and `threads` are used; the CRF's parameters come with each call.
    model : str
        Its name, to be shown.
    """

    def __init__(self, segmenter: Segmenter, model: str) -> None:
        self.segmenter = segmenter
        self.model = model
        self.metadata = segmenter.engine.metadata
        self.parameters: CrfParameters = self.metadata.crf
        self._large = threading.Lock()

    def segment(self, image: NDArray[np.uint8], parameters: CrfParameters | None) -> Segmentation:
        """Segment a photo (H, W, 3); without parameters the CRF is left out."""
        with self._turn(image):
            return self._segmenter(self.segmenter.engine, parameters)(image)

    def sharpen(self, kept: Kept, parameters: CrfParameters) -> Segmentation:
        """Run the CRF alone on what the network said before."""
        with self._turn(kept.image):
            return self._segmenter(KeptScores(self.metadata, kept.network), parameters)(kept.image)

    def refine(
        self,
        image: NDArray[np.uint8],
        given: Path,
        name: str,
        confidence: float,
        parameters: CrfParameters,
        max_pixels: int,
    ) -> tuple[NDArray[np.uint8], Segmentation]:
        """Sharpen somebody else's labels or probabilities.

        Parameters
        ----------
        image : (H, W, 3) uint8
        given : Path
            An index PNG or probabilities as .npy.
        name : str
            What its owner calls it.
        confidence : float
            Of a PNG's labels.
        parameters : CrfParameters
            `sxy` in pixels of a photo of `max_side` at most: it grows with larger ones.
        max_pixels : int
            Of the PNG.

        Returns
        -------
        (H, W) uint8, Segmentation
            The labels before, and the result.
        """
        is_array = given.suffix.lower() == ".npy"
        if not is_array:
            check_mask(given, name, max_pixels)
        with refusing(given, name), self._turn(image):
            if not is_array:
                _check_labels(read_labels(given), name)
            planes, kept = read_probabilities(given, image.shape[:2], None if is_array else confidence)
            names = class_names(None, int(kept.max()) + 1, ids=not is_array)
            crf = self._segmenter(self.segmenter.engine, parameters).dense_crf(image)
            colors = tuple((int(r), int(g), int(b)) for r, g, b in voc_palette(len(names)))
            before, marginals = most_probable(planes, kept), crf(planes)
            return before, Segmentation(image, marginals, names, colors, None, kept, reduction=crf.reduction)

    def _turn(self, image: NDArray[np.uint8]) -> AbstractContextManager[object]:
        # A photo of 16 megapixels takes 3 GiB: one such at a time. The CRF uses all cores for one anyway.
        height, width, _ = image.shape
        return self._large if height * width > LARGE else nullcontext()

    def _segmenter(self, engine: object, parameters: CrfParameters | None) -> Segmenter:
        return Segmenter(
            engine,  # type: ignore[arg-type]  # both are engines
            crf=parameters,
            max_side=self.segmenter.max_side,
            threads=self.segmenter.threads,
        )


def _check_labels(ids: NDArray[np.uint8], name: str) -> None:
    count = len(np.unique(ids))
    if count * ids.size > MOST_NUMBERS:
        raise Refused(
            413,
            f"{name}: {count} labels on {ids.size / 1e6:.3g} megapixels; expected at most"
            f" {MOST_NUMBERS / 1e6:.3g} million pixels times labels, so scale photo and mask down first",
        )
