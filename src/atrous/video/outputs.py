"""Output files of a video, and the rules for replacing existing ones."""

import os
import re
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, as_input_error
from ..labelmap import SOFTWARE, label_png, made_here
from .reader import TAGS

TIMES = "times.csv"
_LABEL_FILE = re.compile(r"\d{6,}\.png")


def output_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the overlaid video's path and the folder of its label frames."""
    return folder / f"{name}.overlay.mp4", folder / name


def outputs_missing(video: Path, folder: Path, name: str, *, labels: bool, overwrite: bool) -> bool:
    """Return whether to write the outputs of a video: one of them is missing, or `overwrite` is set.

    Raises
    ------
    InputError
        If they would replace the video itself, a file that this package did not write, or, with `overwrite`, a folder
        of other files.
    """
    overlay, frames = output_paths(folder, name)
    with as_input_error(overlay, remedy="; rename the video"):
        overlay.exists()
    if overlay.exists() and video.exists() and overlay.samefile(video):
        raise InputError(f"{overlay}: is the video itself and would be replaced; choose another folder")
    if overlay.is_dir():
        raise InputError(f"{overlay}: is a folder; expected no such file, or a video; choose another folder")
    if labels and os.path.lexists(frames) and not _holds_labels_only(frames):
        raise InputError(f"{frames}: holds more than label frames, so it is not replaced; choose another folder")
    if overwrite:
        return True
    if os.path.lexists(overlay) and not _comment(overlay).startswith(SOFTWARE):
        raise InputError(f"{overlay}: exists, and was not written by atrous; move it away or overwrite it")
    if all(os.path.lexists(target) for target in ((overlay, frames) if labels else (overlay,))):
        return False
    if labels and frames.is_dir() and not all(made_here(path) for path in frames.glob("*.png")):
        raise InputError(f"{frames}: exists, and was not written by atrous; move it away or overwrite it")
    return True


def stored_key(overlay: Path) -> str | None:
    """Return the key that `segment_video` stored in an overlaid video; None without one, or without a readable file."""
    return _comment(overlay).partition(f"{SOFTWARE} ")[2] or None


def comment(key: str | None) -> str:
    """Return the comment that marks an output of this package and stores its key."""
    return SOFTWARE if key is None else f"{SOFTWARE} {key}"


def _comment(overlay: Path) -> str:
    try:
        with av.open(
            f"file:{overlay}", container_options={"format_whitelist": "mov", "protocol_whitelist": "file"}, **TAGS
        ) as container:
            return container.metadata.get("comment", "")
    except (FFmpegError, ValueError, OSError):
        return ""


def _holds_labels_only(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return all(path.is_file() and (path.name == TIMES or _LABEL_FILE.fullmatch(path.name)) for path in folder.iterdir())


class LabelFrames:
    """Writer of label maps: `000001.png`, `000002.png`, and so on, with their times in `times.csv`."""

    def __init__(self, folder: Path, palette: ArrayLike) -> None:
        self._folder = folder
        self._palette = palette
        self._count = 0
        self._times = (folder / TIMES).open("w", encoding="utf-8", newline="\n")
        self._times.write("file,seconds\n")

    def add(self, labels: NDArray[np.uint8], seconds: float) -> None:
        """Write the next (H, W) uint8 label map."""
        self._count += 1
        path = self._folder / f"{self._count:06}.png"
        path.write_bytes(label_png(labels, self._palette))
        self._times.write(f"{path.name},{seconds:.6f}\n")

    def close(self) -> None:
        """Close the table of times."""
        self._times.close()
