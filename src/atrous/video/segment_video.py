"""A clip from its file to the overlaid one."""

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
from ..segmenter import Segmentation, Segmenter
from ..segmenter.batch import segmented
from .outputs import LabelFrames, output_paths, outputs_missing
from .reader import Clip, Frame
from .writer import ClipWriter

# Decoded frames that wait for the network, and drawn ones that wait for the encoder; more would only take memory.
_DECODED, _DRAWN = 3, 2


@dataclass(frozen=True)
class Progress:
    """How far a clip is.

    Attributes
    ----------
    frames : int
        Written.
    seconds : float
        Of the clip, up to the end of the last of them.
    duration : float or None
        Of the whole clip, in seconds, as its file says.
    """

    frames: int
    seconds: float
    duration: float | None


@dataclass(frozen=True)
class VideoReport:
    """What was made of a clip.

    Attributes
    ----------
    source, overlay : Path
        The clip and the overlaid one.
    labels : Path or None
        The folder of label frames, if they were asked for.
    frames : int
    seconds : float
        Of the clip, to the end of its last frame.
    took : float
        Seconds that it took.
    shares : dict
        Each class that occurs with its share of all frames' pixels, largest first.
    notes : tuple of str
        What is not as it was: sound encoded anew, frames of another size.
    damage : tuple of str
        What of the clip could not be read; empty if all could.
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
    clip: str | os.PathLike[str],
    folder: str | os.PathLike[str] = "segmentation",
    name: str | None = None,
    *,
    labels: bool = False,
    names: bool = True,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> VideoReport:
    """Write `<name>.overlay.mp4` and, if asked for, the label frames `<name>/000001.png` and on.

    Each frame is segmented by itself, upright and at its own size. Times, frame rate, colors and sound are the
    clip's. What is damaged is left out, and told in the report. All outputs are written, or none.

    Parameters
    ----------
    segmenter : Segmenter
    clip : path
    folder : path
        Made if it is not there.
    name : str, optional
        The clip's own, without suffix, if left out.
    labels : bool
        Write an index PNG of each frame's label ids, in the model's colors, and `times.csv` with their times.
    names : bool
        Write the classes' names on the regions.
    overwrite : bool
        Replace outputs that exist.
    progress : callable, optional
        Called with a `Progress` after each frame.

    Returns
    -------
    VideoReport

    Raises
    ------
    InputError
        If the clip cannot be opened or no frame of it decoded, or an output exists.
    OSError
        If an output cannot be written.

    Examples
    --------
    >>> segment_video(Segmenter(), "clip.mp4", "out").shares  # doctest: +SKIP
    {'background': 0.71, 'cat': 0.29}
    """
    begun = time.perf_counter()
    path, folder = Path(clip), Path(folder)
    name = path.stem if name is None else name
    target, frame_folder = output_paths(folder, name)
    if not outputs_missing(path, folder, name, labels=labels, overwrite=overwrite):
        raise InputError(f"{target}: exists; pass overwrite=True to replace it, or choose another folder")
    with Clip(path) as source, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        out = _Outputs(source, segmenter, names=names)
        outputs = stack.enter_context(transaction())
        temporary = outputs.file(target)
        if labels:
            out.write_labels(outputs.folder(frame_folder))
        stack.callback(out.close)
        steps = stack.enter_context(closing(prefetch(out.frames_of(source), _DECODED)))
        frames = segmented(segmenter, steps, read=_image, finish=out.draw, ahead=_DRAWN)
        try:
            for done in stack.enter_context(closing(frames)):
                if done.error is not None:
                    raise done.error
                out.add(*done.item, *cast(_Made, done.made), temporary)
                if progress is not None:
                    progress(Progress(out.frames, out.seconds, source.duration))
            out.finish()
        except FFmpegError as error:
            if isinstance(error, OSError):  # the disk's fault
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
            took=time.perf_counter() - begun,
            shares=out.shares(),
            notes=tuple(out.notes),
            damage=tuple(source.damage()),
        )
    return report


# A frame and the sound before it.
_Item = tuple[Frame, list[Any]]
# A frame's labels, (H, W) uint8, and the picture of them, (H, W, 3) uint8.
_Made = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _image(item: _Item) -> NDArray[np.uint8]:
    return item[0].image


class _Outputs:
    """What is written of one clip."""

    def __init__(self, clip: Clip, segmenter: Segmenter, *, names: bool) -> None:
        self._clip = clip
        self._classes = segmenter.classes
        self._palette = segmenter.engine.metadata.palette
        self._names = names
        self._counts = np.zeros(256, np.int64)
        self._writer: ClipWriter | None = None
        self._labels: LabelFrames | None = None
        self._sound_after: list[Any] = []
        self.frames = 0
        self.seconds = 0.0

    def write_labels(self, folder: Path) -> None:
        self._labels = LabelFrames(folder, self._palette)

    def frames_of(self, clip: Clip) -> Generator[_Item, None, None]:
        """Yield the frames, and keep the sound after the last of them."""
        for step in clip.steps():
            if step.frame is None:
                self._sound_after = step.sound
            else:
                yield step.frame, step.sound

    def draw(self, _: _Item, result: Segmentation) -> _Made:
        """Return a frame's labels and the picture of them; called by several threads at once."""
        drawn = overlay(result.image, result.labels, self._classes, self._palette, names=self._names)
        return result.labels, np.asarray(drawn)

    def add(
        self, frame: Frame, sound: list[Any], labels: NDArray[np.uint8], drawn: NDArray[np.uint8], path: Path
    ) -> None:
        if self._writer is None:
            self._writer = ClipWriter(path, self._clip, frame)
        self._writer.add_sound(sound)
        self._writer.add(drawn, frame)
        if self._labels is not None:
            self._labels.add(labels, frame.seconds)
        self._counts += np.bincount(labels.ravel(), minlength=256)
        self.frames += 1
        self.seconds = frame.seconds + float(frame.duration * self._clip.time_base)

    def finish(self) -> None:
        if self._writer is None:
            damage = "; ".join(self._clip.damage())
            raise InputError(f"{self._clip.path}: no frame of it can be decoded{damage and f' ({damage})'}")
        self._writer.add_sound(self._sound_after)
        self._writer.finish()
        if self._labels is not None:
            self._labels.close()

    def close(self) -> None:
        """Close what is still open after an error."""
        if self._writer is not None:
            self._writer.abandon()
        if self._labels is not None:
            self._labels.close()

    @property
    def notes(self) -> list[str]:
        return self._writer.notes if self._writer is not None else []

    def shares(self) -> dict[str, float]:
        order = sorted(np.flatnonzero(self._counts), key=lambda label: -self._counts[label])
        return {self._classes[label]: float(self._counts[label] / self._counts.sum()) for label in order}
