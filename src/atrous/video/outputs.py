"""The files made of a clip: where they are, and what they may replace."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..palette.labels import label_image, save_label_image

TIMES = "times.csv"
_LABEL_FILE = re.compile(r"\d{6,}\.png")


def output_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the overlaid clip's path and the folder of its label frames."""
    return folder / f"{name}.overlay.mp4", folder / name


def check_outputs(clip: Path, folder: Path, name: str, *, labels: bool, overwrite: bool) -> None:
    """Raise InputError if writing would replace what it should not."""
    overlay, frames = output_paths(folder, name)
    try:
        overlay.exists()
    except OSError as error:
        raise InputError(f"{overlay}: cannot be written ({error.strerror or error}); rename the clip") from None
    if overlay.exists() and clip.exists() and overlay.samefile(clip):
        raise InputError(f"{overlay}: is the clip itself and would be replaced; choose another folder")
    for target in (overlay, frames) if labels else (overlay,):
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise InputError(f"{target}: exists; give --overwrite to replace it, or another --out")
    if overlay.is_dir():
        raise InputError(f"{overlay}: is a folder; expected no such file, or a clip; choose another folder")
    if labels and (frames.is_symlink() or frames.exists()) and not _holds_labels_only(frames):
        raise InputError(f"{frames}: holds more than label frames, so it is not replaced; choose another folder")


def _holds_labels_only(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return all(path.is_file() and (path.name == TIMES or _LABEL_FILE.fullmatch(path.name)) for path in folder.iterdir())


class LabelFrames:
    """Label maps written into a folder as `000001.png` and on, with their times in `times.csv`."""

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
        save_label_image(path, label_image(labels, self._palette))
        self._times.write(f"{path.name},{seconds:.6f}\n")

    def close(self) -> None:
        """Close the table of times."""
        self._times.close()
