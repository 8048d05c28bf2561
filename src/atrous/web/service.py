"""Computation behind the HTTP interface: images to label maps, and again with other CRF parameters."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..crf import PRESETS
from ..data import (
    CrfParameters,
    ModelMetadata,
    class_names,
    fit_probabilities,
    parse_array,
    probabilities_from_labels,
    read_mask,
)
from ..image_io import Limits, read_rgb, stored_size
from ..labelmap import voc_palette
from ..segmenter import NetworkScores, Segmentation, Segmenter, most_probable
from .config import ServerSettings
from .errors import RequestError

LARGE = 4_000_000  # pixels
MAX_VALUES = 128_000_000  # of given probabilities, pixels times labels: 0.5 GB
DECODER_MEMORY = 2**30  # bytes; a progressive JPEG of 16 megapixels takes 0.2 GB
DECODER_SECONDS = 3.0  # of processor time, and 1 for each megabyte of the file
LEAST = 1e-6  # probability of classes beside strokes
STROKE_TRUST = 0.03  # exponent of the other probabilities beside strokes: larger, and strokes do not spread

Planes: TypeAlias = tuple[NDArray[np.float32], NDArray[np.intp]]  # (K, H, W) probabilities, and the K labels


@dataclass(frozen=True)
class StoredScores:
    """A backend that returns stored scores, so that only the CRF is computed."""

    metadata: ModelMetadata
    network: NetworkScores

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores; `image` is the one they were computed from, at any size."""
        return self.network.scores


@dataclass(eq=False)
class Session:
    """An image and what its CRF starts from.

    Attributes
    ----------
    image : (H, W, 3) uint8
    classes : tuple of str
    palette : tuple of (red, green, blue)
    start : NetworkScores, or Planes given by the client
    before : (H, W) uint8
        Labels without the CRF.
    used : float
        Time of the last use, by the clock of `Sessions`.
    """

    image: NDArray[np.uint8]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    start: NetworkScores | Planes
    before: NDArray[np.uint8]
    used: float = 0.0

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        scores = self.start.scores if isinstance(self.start, NetworkScores) else self.start[0]
        return self.image.nbytes + scores.nbytes + self.before.nbytes


class Sessions:
    """Sessions under random ids, bounded in number, memory and time; `clock` returns seconds."""

    def __init__(self, settings: ServerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._stored: OrderedDict[str, Session] = OrderedDict()  # the one unused for longest first
        self._lock = threading.Lock()

    def put(self, session: Session) -> str:
        """Store a session and return its id; others make room."""
        key, most = secrets.token_urlsafe(16), self._settings.session_megabytes * 1e6
        with self._lock:
            session.used = self._clock()
            self._stored[key] = session
            while len(self._stored) > 1 and (
                len(self._stored) > self._settings.sessions or sum(s.bytes for s in self._stored.values()) > most
            ):
                self._stored.popitem(last=False)
        return key

    def get(self, key: str) -> Session:
        """Return a session; raise RequestError (404) if there is none of that id."""
        self.sweep()
        with self._lock:
            if key not in self._stored:
                raise RequestError(404, "session: no such id, or unused for too long; send the image again")
            self._stored.move_to_end(key)
            self._stored[key].used = self._clock()
            return self._stored[key]

    def close(self, key: str) -> None:
        """Delete a session if there is one of that id."""
        with self._lock:
            self._stored.pop(key, None)

    def sweep(self) -> None:
        """Delete the sessions that were not used for `session_seconds`."""
        oldest = self._clock() - self._settings.session_seconds
        with self._lock:
            while self._stored and next(iter(self._stored.values())).used < oldest:
                self._stored.popitem(last=False)

    def __len__(self) -> int:
        return len(self._stored)


class Service:
    """Computations of the HTTP interface.

    Parameters
    ----------
    segmenter : Segmenter
        Its network, `max_side` and `threads` are used; CRF parameters come with each call.
    model : str
        Name of the model, reported to clients.
    settings : ServerSettings
    """

    def __init__(self, segmenter: Segmenter, model: str, settings: ServerSettings) -> None:
        self.segmenter, self.model = segmenter, model
        self.metadata = segmenter.engine.metadata
        self.parameters: CrfParameters = self.metadata.crf
        self._limits = Limits(pixels=settings.max_pixels, memory=DECODER_MEMORY, seconds=DECODER_SECONDS)
        self._large = threading.Lock()

    def read_image(self, content: bytes, name: str) -> NDArray[np.uint8]:
        """Decode an image in a process with limits on memory and time: (H, W, 3) uint8 RGB, upright."""
        return read_rgb(content, name, limits=self._limits, isolated=True)

    def session(self, image: NDArray[np.uint8]) -> Session:
        """Return a session with the network's scores of an image."""
        result = self.segment(image, None)
        assert result.network is not None
        return Session(image, self.metadata.classes, self.metadata.palette, result.network, result.labels)

    def session_of_planes(self, image: NDArray[np.uint8], content: bytes, name: str) -> Session:
        """Return a session with the probabilities in a .npy file."""
        array = parse_array(content, name)
        _check_values(array.size, name)
        planes = fit_probabilities(array, name, (image.shape[0], image.shape[1]))
        return _given(image, (planes, np.arange(len(planes))), class_names(None, len(planes), ids=False))

    def session_of_mask(self, image: NDArray[np.uint8], content: bytes, name: str, confidence: float) -> Session:
        """Return a session with the probabilities of a PNG: ids, a mask of 0 and 255, or a soft matte."""
        stored_size(content, name, limits=self._limits, formats=("PNG",))
        mask = read_mask(content, name)  # not in a decoder process, which sends colors
        if mask.dtype == np.uint8:
            return self.session_of_labels(image, mask, name, confidence)
        _check_values(2 * mask.size, name)
        planes = fit_probabilities(mask, name, (image.shape[0], image.shape[1]))
        return _given(image, (planes, np.arange(2)), class_names(None, 2, ids=False))

    def session_of_labels(
        self, image: NDArray[np.uint8], labels: NDArray[np.uint8], name: str, confidence: float
    ) -> Session:
        """Return a session with probabilities from labels, (H, W) uint8 with 255 for unknown."""
        if labels.shape != image.shape[:2]:
            expected, got = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, labels.shape))
            raise RequestError(422, f"{name}: expected the image's size, {expected}, got {got}; scale it to that size")
        _check_values(len(np.unique(labels)) * labels.size, name)
        planes = probabilities_from_labels(labels, confidence, name)
        return _given(image, planes, class_names(None, int(planes[1].max()) + 1, ids=True))

    def segment(self, image: NDArray[np.uint8], parameters: CrfParameters | None) -> Segmentation:
        """Segment an image (H, W, 3); without parameters, by the network alone."""
        with self._turn(image):
            return self._segmenter(parameters)(image)

    def run_crf(
        self,
        session: Session,
        parameters: CrfParameters,
        *,
        max_side: int | None = None,
        strokes: NDArray[np.uint8] | None = None,
        confidence: float = 0.9,
        use_scores: bool = True,
    ) -> Segmentation:
        """Run the CRF of a session.

        Parameters
        ----------
        session : Session
        parameters : CrfParameters
            `sxy` counts pixels of an image of `max_side`; for larger images it grows with them.
        max_side : int, optional
            Compute a preview of at most this many pixels a side, or of the network's `max_side` if that is more.
        strokes : (h, w) uint8, optional
            Labels drawn by hand, 255 elsewhere; of any size.
        confidence : float
            Probability of the strokes' labels.
        use_scores : bool
            Whether the session's scores count beside the strokes.
        """
        image = _resized(session.image, max_side and max(max_side, self.segmenter.max_side))
        with self._turn(image):
            if strokes is None and isinstance(session.start, NetworkScores):
                return self._segmenter(parameters, session.start)(image)
            drawn = None if strokes is None else _nearest(strokes, image.shape[:2])
            if drawn is not None and not use_scores:
                planes = probabilities_from_labels(drawn, confidence, "strokes")
            else:
                planes = self._planes(session, image)
                if drawn is not None:
                    planes = _with_strokes(planes, drawn, confidence)
            crf = self._segmenter(parameters).dense_crf(image)
            probabilities = crf(planes[0])
            return Segmentation(
                image, probabilities, session.classes, session.palette, None, planes[1], reduction=crf.reduction
            )

    def _planes(self, session: Session, image: NDArray[np.uint8]) -> Planes:
        if isinstance(session.start, NetworkScores):
            result = self._segmenter(None, session.start)(image)
            return result.planes, np.arange(len(result.planes)) if result.kept is None else result.kept
        planes, ids = session.start
        if planes.shape[1:] != image.shape[:2]:
            size = image.shape[1], image.shape[0]
            small = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in planes]
            planes = np.stack([np.asarray(plane) for plane in small])
        return planes, ids

    def _turn(self, image: NDArray[np.uint8]) -> AbstractContextManager[object]:
        # Large images would fill the memory together, and the CRF uses all cores for one anyway.
        return self._large if image.shape[0] * image.shape[1] > LARGE else nullcontext()

    def _segmenter(self, parameters: CrfParameters | None, network: NetworkScores | None = None) -> Segmenter:
        engine = self.segmenter.engine if network is None else StoredScores(self.metadata, network)
        own = self.segmenter
        return Segmenter(
            engine, crf=parameters, max_side=own.max_side, threads=own.threads, max_crf_pixels=own.max_crf_pixels
        )


def presets() -> dict[str, CrfParameters]:
    """Return the released models' CRF parameters."""
    return {name: CrfParameters.of_preset(name) for name in PRESETS}


def _given(image: NDArray[np.uint8], planes: Planes, classes: tuple[str, ...]) -> Session:
    palette = tuple((int(r), int(g), int(b)) for r, g, b in voc_palette(len(classes)))
    return Session(image, classes, palette, planes, most_probable(*planes))


def _with_strokes(given: Planes, strokes: NDArray[np.uint8], confidence: float) -> Planes:
    """Return probabilities with those of the strokes in place, weakened elsewhere so that strokes spread."""
    planes, ids = given
    known = strokes != 255
    every = np.union1d(ids, np.unique(strokes[known])).astype(np.intp)
    _check_values(len(every) * strokes.size, "strokes")
    out = np.full((len(every), *strokes.shape), LEAST**STROKE_TRUST, np.float32)
    out[np.searchsorted(every, ids)] = np.maximum(planes, LEAST) ** STROKE_TRUST
    out /= out.sum(axis=0)
    out[:, known] = (1 - confidence) / max(1, len(every) - 1)
    for plane, label in zip(out, every, strict=True):
        plane[strokes == label] = confidence
    return out, every


def _check_values(count: int, name: str) -> None:
    if count > MAX_VALUES:
        most, got = (f"{number / 1e6:.3g}" for number in (MAX_VALUES, count))
        raise RequestError(
            413, f"{name}: expected at most {most} million pixels times labels, got {got}; scale image and labels down"
        )


def _resized(image: NDArray[np.uint8], max_side: int | None) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    if max_side is None or max(height, width) <= max_side:
        return image
    scale = max_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _nearest(labels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]
