"""What the engines share: the file, its metadata, and how a photo becomes the network's input."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.crops import network_input
from ..data.metadata import ModelMetadata
from ..errors import ComputeError, InputError

BUNDLED = "deeplab-largefov-voc12.onnx"


class Engine(Protocol):
    """What the segmenter asks of a network."""

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, palette, CRF parameters."""

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (C, h, w) scores of the image padded to 8 k - 7 a side.

        Cell (i, j) lies on the pixel `metadata.output_stride` times (i, j).
        """


def bundled_model_path() -> Path:
    """Return the path of the model that ships with the package.

    Raises
    ------
    InputError
        If this build of the package holds none.
    """
    path = Path(str(resources.files("atrous") / "models" / BUNDLED))
    if not path.is_file():
        raise InputError(f"{path}: this build of atrous ships no model; give one (--model MODEL.onnx)")
    return path


class ExportedEngine(ABC):
    """Runs a model exported by `atrous export`.

    Parameters
    ----------
    path : path
        An ONNX file with atrous' metadata.

    Attributes
    ----------
    name : str
        Of the library that computes, as `Segmenter(engine=...)` takes it.
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu", "cuda" or "cuda:N".
    several : bool
        Whether several threads may call `scores` at the same time.

    Raises
    ------
    InputError
        If there is no such file.
    """

    name: ClassVar[str]
    metadata: ModelMetadata
    device: str = "cpu"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; expected an ONNX model made by atrous export")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.path)!r}, device={self.device!r})"

    @property
    def several(self) -> bool:
        """Whether several threads may call `scores` at the same time."""
        return self.device == "cpu"

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the scores of one photo.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (C, h, w) float32
            Of the photo padded at the bottom and right to 8 k - 7 a side, on the grid of
            `metadata.output_stride`: 8 pixels, or 1 with multi-scale prediction.

        Raises
        ------
        ComputeError
            If the library that computes fails, for want of memory, say.
        """
        blob = network_input(image, self.metadata.mean, self.metadata.colour_order)
        try:
            return self._forward(blob[None])[0]
        except MemoryError:
            raise
        except Exception as error:  # each library has its own errors, without a public base class
            raise ComputeError.of_network(image.shape, self.device, error) from error

    @abstractmethod
    def _forward(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, 3, H, W) to (1, C, h, w)."""

    def _check_faces(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        if (list(inputs), list(outputs)) != (["image"], ["scores"]):
            raise InputError(
                f"{self.path}: an ONNX model from {list(inputs)} to {list(outputs)}; expected one made by atrous"
                " export, from 'image' to 'scores'"
            )

    def _read_metadata(self, text: str | None) -> ModelMetadata:
        if text is None:
            raise InputError(f"{self.path}: an ONNX model without atrous' metadata; make it with atrous export")
        return ModelMetadata.from_json(text, str(self.path))
