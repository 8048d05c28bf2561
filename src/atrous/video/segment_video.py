"""Segmentation of a video, frame by frame."""

import os
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from .._io import transaction
from .._parallel import prefetch
from ..errors import InputError
from ..labelmap import overlay
from ..segmenter import Segmentation, Segmenter, segmented
from .outputs import LabelFrames, output_paths, outputs_missing
from .reader import Frame, VideoReader
from .writer import VideoWriter

# Queue lengths: decoded frames before the network, drawn frames before the encoder. Longer ones only use memory.
_DECODED, _DRAWN = 3, 2


@dataclass(frozen=True)
class Progress:
    """Progress of a video.

    Attributes
    ----------
    frames : int
        Frames written.
    seconds : float
        Position in the video: the end of the last frame written.
    duration : float or None
        Duration of the video in seconds, from its file.
    """

    frames: int
    seconds: float
    duration: float | None


@dataclass(frozen=True)
class VideoReport:
    """Results of a video.

    Attributes
    ----------
    source, overlay : Path
        Input and output video.
    labels : Path or None
        Folder of label frames, if requested.
    frames : int
    seconds : float
        Duration of the frames written.
    took : float
        Processing time in seconds.
    shares : dict
        Each class that occurs with its share of all frames' pixels, largest first.
    notes : tuple of str
        Differences from the source: transcoded audio, frames of another size.
    damage : tuple of str
        Parts of the video that could not be read; empty if none.
    """

    source: Path
    overlay: Path
    labels: Path | None
    frames: int
    seconds: float
    took: float
    shares: dict[str, float]
    notes: tuple[str, ...]
    damage: tuple[str, ...]


def segment_video(
    segmenter: Segmenter,
    video: str | os.PathLike[str],
    folder: str | os.PathLike[str] = "segmentation",
    name: str | None = None,
    *,
    labels: bool = False,
    names: bool = True,
    overwrite: bool = False,
    key: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> VideoReport:
    """Write `<name>.overlay.mp4` and optionally label frames `<name>/000001.png`, `<name>/000002.png`, ...

    Each frame is segmented independently, upright and at full size. Times, frame rate, colors and audio are those of
    the source. Damaged parts are skipped and reported. Either all outputs are written or none.

    Parameters
    ----------
    segmenter : Segmenter
    video : path
    folder : path
        Created if it does not exist.
    name : str, optional
        Name of the outputs. Default: the video's name without suffix.
    labels : bool
        Write an index PNG of each frame's labels, in the model's colors, and `times.csv` with the frames' times.
    names : bool
        Draw class names on the regions.
    overwrite : bool
        Replace outputs that exist.
    key : str, optional
        What the video was made from, in words of the caller: stored in the overlaid video, read by
        `atrous.video.stored_key`.
    progress : callable, optional
        Called with a `Progress` after each frame.

    Returns
    -------
    VideoReport

    Raises
    ------
    InputError
        If the video cannot be opened, no frame can be decoded, or an output exists.
    OSError
        If an output cannot be written.

    Examples
    --------
    >>> segment_video(Segmenter(), "video.mp4", "out").shares  # doctest: +SKIP
    {'background': 0.71, 'cat': 0.29}
    """
    started = time.perf_counter()
    path, folder = Path(video), Path(folder)
    name = path.stem if name is None else name
    target, frame_folder = output_paths(folder, name)
    if not outputs_missing(path, folder, name, labels=labels, overwrite=overwrite):
        raise InputError(f"{target}: exists; pass overwrite=True to replace it, or choose another folder")
    with VideoReader(path) as source, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        outputs = stack.enter_context(transaction())
        temporary = outputs.file(target)
        out = _Outputs(source, segmenter, temporary, outputs.folder(frame_folder) if labels else None, names, key)
        stack.callback(out.close)
        steps = stack.enter_context(closing(prefetch(out.frames_of(source), _DECODED)))
        frames = segmented(segmenter, steps, read=_image, finish=out.draw, ahead=_DRAWN)
        try:
            for done in stack.enter_context(closing(frames)):
                if done.error is not None:
                    raise done.error
                out.add(*done.item, *cast(_Made, done.made))
                if progress is not None:
                    progress(Progress(out.frames, out.seconds, source.duration))
            out.finish()
        except FFmpegError as error:
            if isinstance(error, OSError):  # a disk error
                raise
            raise InputError(
                f"{path}: cannot be segmented ({error.strerror or error}); convert it to H.264 first"
            ) from None
        report = VideoReport(
            source=path,
            overlay=target,
            labels=frame_folder if labels else None,
            frames=out.frames,
            seconds=out.seconds,
            took=time.perf_counter() - started,
            shares=out.shares(),
            notes=tuple(out.writer.notes) if out.writer else (),
            damage=tuple(source.damage()),
        )
    return report


# A frame and the audio before it.
_Item = tuple[Frame, list[Any]]
# A frame's labels, (H, W) uint8, and its overlay, (H, W, 3) uint8.
_Made = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _image(item: _Item) -> NDArray[np.uint8]:
    return item[0].image


class _Outputs:
    """Outputs of one video while they are written: the overlaid video, and label frames if they have a folder."""

    def __init__(
        self, video: VideoReader, segmenter: Segmenter, path: Path, labels: Path | None, names: bool, key: str | None
    ) -> None:
        self._video, self._path, self._names, self._key = video, path, names, key
        self._classes = segmenter.classes
        self._palette = segmenter.engine.metadata.palette
        self._counts = np.zeros(256, np.int64)
        self.writer: VideoWriter | None = None
        self._labels = LabelFrames(labels, self._palette) if labels else None
        self._audio_after: list[Any] = []
        self.frames = 0
        self.seconds = 0.0

    def frames_of(self, video: VideoReader) -> Generator[_Item, None, None]:
        """Yield the frames with the audio before each; store the audio after the last frame."""
        for audio, frame in video.steps():
            if frame is None:
                self._audio_after = audio
            else:
                yield frame, audio

    def draw(self, _: _Item, result: Segmentation) -> _Made:
        """Return a frame's labels and overlay. Several threads call this at once."""
        drawn = overlay(result.image, result.labels, self._classes, self._palette, names=self._names)
        return result.labels, np.asarray(drawn)

    def add(self, frame: Frame, audio: list[Any], labels: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> None:
        if self.writer is None:
            self.writer = VideoWriter(self._path, self._video, frame, self._key)
        self.writer.add_audio(audio)
        self.writer.add(drawn, frame)
        if self._labels is not None:
            self._labels.add(labels, frame.seconds)
        self._counts += np.bincount(labels.ravel(), minlength=256)
        self.frames += 1
        self.seconds = frame.seconds + float(frame.duration * self._video.time_base)

    def finish(self) -> None:
        if self.writer is None:
            damage = "; ".join(self._video.damage())
            raise InputError(f"{self._video.path}: no frame can be decoded{damage and f' ({damage})'}")
        self.writer.add_audio(self._audio_after)
        self.writer.finish()
        if self._labels is not None:
            self._labels.close()

    def close(self) -> None:
        """Close open files after an error."""
        if self.writer is not None:
            self.writer.abandon()
        if self._labels is not None:
            self._labels.close()

    def shares(self) -> dict[str, float]:
        order = sorted(np.flatnonzero(self._counts), key=lambda label: -self._counts[label])
        return {self._classes[label]: float(self._counts[label] / self._counts.sum()) for label in order}
