"""Label maps in the format of the PASCAL VOC evaluation server."""

import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._io import replacing
from ..data.samples import Sample
from ..errors import InputError, as_input_error
from ..labelmap.png import write_labels
from .predictors import LabelMaps

ARCHIVE = "results.tgz"


class Submission:
    """Writer of a folder `results/VOC2012/Segmentation/comp6_LIST_cls/NAME.png`.

    "comp6" is the competition for models trained on further data, such as ImageNet.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    listed : str
        Name of the list, "test" for the server.
    palette : (n, 3) array_like
        Colors of the PNGs.

    Raises
    ------
    InputError
        If the folder cannot be created.
    """

    def __init__(self, folder: str | os.PathLike[str], listed: str, palette: ArrayLike) -> None:
        self._root = Path(folder)
        self._inside = Path("results", "VOC2012", "Segmentation", f"comp6_{listed}_cls")
        self._palette = palette
        self.folder = self._root / self._inside
        with as_input_error(self.folder, "created"):
            self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, sample: Sample, labels: NDArray[np.uint8]) -> None:
        """Write one image's labels, (H, W) uint8 ids."""
        path = self.folder / f"{sample.name}.png"
        with as_input_error(path):
            write_labels(path, labels, self._palette)

    def saver(self, labeling: str) -> Callable[[Sample, LabelMaps], None]:
        """Return a function that writes one labeling of each sample."""
        return lambda sample, maps: self.add(sample, maps.maps[labeling])

    def pack(self, samples: Sequence[Sample]) -> Path:
        """Write the archive for upload, with these images' label maps; return its path.

        Raises
        ------
        InputError
            If a label map is missing or the archive cannot be written.
        """
        path = self._root / ARCHIVE
        try:
            with replacing(path) as temporary, tarfile.open(temporary, "w:gz") as archive:
                for sample in samples:
                    name = f"{sample.name}.png"
                    data = (self.folder / name).read_bytes()
                    # Without owner and time, so that the same labels give the same archive.
                    member = tarfile.TarInfo((self._inside / name).as_posix())
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        except OSError as error:
            raise InputError(
                f"{error.filename or path}: {error.strerror or error}; the archive was not written"
            ) from None
        return path
