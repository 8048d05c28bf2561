"""Label maps as the PASCAL VOC evaluation server takes them."""

import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._io import replacing
from ..data.samples import Sample
from ..errors import InputError
from ..labelmap.png import write_labels
from .predictors import LabelMaps

ARCHIVE = "results.tgz"


class Submission:
    """A folder that fills with `results/VOC2012/Segmentation/comp6_LIST_cls/NAME.png`.

    "comp6" is the competition for models that saw other data than VOC's, as all that begin from ImageNet did.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    listed : str
        The list's name, "test" for the server.
    palette : (n, 3) array_like
        Colors of the PNGs.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], listed: str, palette: ArrayLike) -> None:
        self._root = Path(folder)
        self._inside = Path("results", "VOC2012", "Segmentation", f"comp6_{listed}_cls")
        self._palette = palette
        self.folder = self._root / self._inside
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be made ({error.strerror or error})") from None

    def add(self, sample: Sample, labels: NDArray[np.uint8]) -> None:
        """Write one image's labels, (H, W) uint8 ids."""
        path = self.folder / f"{sample.name}.png"
        try:
            write_labels(path, labels, self._palette)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None

    def saver(self, labeling: str) -> Callable[[Sample, LabelMaps], None]:
        """Return what writes one labeling of each sample that it is given."""
        return lambda sample, maps: self.add(sample, maps.maps[labeling])

    def pack(self, samples: Sequence[Sample]) -> Path:
        """Write the archive to be uploaded, of these images' label maps; return its path.

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
                    # Without owner and time: the same labels make the same archive members.
                    member = tarfile.TarInfo((self._inside / name).as_posix())
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        except OSError as error:
            raise InputError(
                f"{error.filename or path}: {error.strerror or error}; the archive is not written"
            ) from None
        return path
