"""What the engines share: the file, its metadata, and how a photo becomes the network's input."""

import math
import os
from abc import ABC, abstractmethod
from importlib import resources
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from .._protobuf import MalformedError
from ..data.metadata import ModelMetadata
from ..data.transforms import network_input
from ..errors import ComputeError, InputError
from .onnx_file import FLOAT, Graph, ValueInfo, quoted, read_graph
from .shapes import ShapeError, cost

BUNDLED = "deeplab-largefov-voc12.onnx"

# 8 k - 7 a side, not square, and so large that what grows faster than the image is seen.
_IMAGE = 4097, 8193

# Of ONNX's operators: from where sizes are inputs to the last whose meaning is known.
_OPSETS = range(13, 26)

# For each pixel: the largest network of the paper, 7x7 with MSc and 255 classes, takes 770 and 2.8 million.
_MOST_NUMBERS = 2_048
_MOST_PRODUCTS = 20_000_000

# Numbers that are computed from the weights alone, for each stored one: as many in int8.
_MOST_CONSTANTS = 4


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
    path = _bundled()
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
        If there is no such file, or it is not a network that `atrous export` writes: see `read_exported`.
    """

    name: ClassVar[str]
    metadata: ModelMetadata
    device: str = "cpu"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; expected an ONNX model made by atrous export")
        # The package's own file is checked by its tests: at each start that would be a twentieth of the time.
        self.metadata = read_exported(self.path, whole=self.path != _bundled())

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
        InputError
            If the scores are not what the metadata promises, or hold NaN or infinity.
        """
        blob = network_input(image, self.metadata.mean, self.metadata.color_order)
        try:
            (scores,) = self._forward(blob[None])
        except MemoryError:
            raise
        except Exception as error:  # each library has its own errors, without a public base class
            raise ComputeError.of_network(image.shape, self.device, error) from error
        self.metadata.check_scores(scores, blob.shape[1:], str(self.path))
        return scores

    @abstractmethod
    def _forward(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, 3, H, W) to (1, C, h, w)."""


def _bundled() -> Path:
    return Path(str(resources.files("atrous") / "models" / BUNDLED))


def read_exported(path: Path, *, whole: bool = True) -> ModelMetadata:
    """Check a model file before a library loads it, and return its metadata.

    Parameters
    ----------
    path : Path
    whole : bool
        False: check the metadata alone.

    Raises
    ------
    InputError
        If the file is not what `atrous export` writes: another format, cut short, numbers in other files, NaN in the
        weights, an operator that no export has, inputs or outputs of other names, types or sizes, metadata that
        cannot be right or that is not of this network, or more memory or work than any network of the paper takes.
    """
    graph = read_graph(path, whole=whole)
    if graph.metadata is None:
        raise InputError(f"{path}: an ONNX model without atrous' metadata; make it with atrous export")
    metadata = ModelMetadata.from_json(graph.metadata, str(path))
    if whole:
        _check_graph(path, graph, metadata)
    return metadata


def _check_graph(path: Path, graph: Graph, metadata: ModelMetadata) -> None:
    names = [[info.name for info in infos] for infos in (graph.inputs, graph.outputs)]
    if names != [[b"image"], [b"scores"]]:
        got = " to ".join(", ".join(map(quoted, each[:4])) or "nothing" for each in names)
        raise InputError(
            f"{path}: an ONNX model from {got}; expected one made by atrous export, from 'image' to 'scores'"
        )
    (image,), (scores,) = graph.inputs, graph.outputs
    _check_value_info(path, image, 3)
    _check_value_info(path, scores, len(metadata.classes))
    if graph.opset not in _OPSETS:
        raise InputError(
            f"{path}: of version {graph.opset} of ONNX's operators; expected {_OPSETS[0]} to {_OPSETS[-1]};"
            " export it again"
        )
    try:
        found = cost(graph, (1, 3, *_IMAGE))
    except (ShapeError, MalformedError) as error:
        raise InputError(f"{path}: not a network that atrous export wrote ({error}); export it again") from None
    pixels = math.prod(_IMAGE)
    stored = sum(math.prod(tensor.shape) for tensor in graph.tensors.values())
    if found.memory > _MOST_NUMBERS * pixels or found.constants > _MOST_CONSTANTS * stored:
        raise InputError(f"{path}: its network takes more memory than any that atrous exports; export it again")
    if found.products > _MOST_PRODUCTS * pixels:
        raise InputError(f"{path}: its network takes more work than any that atrous exports; export it again")
    if found.scores != (expected := (1, *metadata.scores_shape(*_IMAGE))):
        raise InputError(
            f"{path}: its network gives scores of shape {found.scores} for {_IMAGE} pixels; expected {expected} by its"
            f" {len(metadata.classes)} classes and output_stride {metadata.output_stride}; export it again"
        )


def _check_value_info(path: Path, info: ValueInfo, channels: int) -> None:
    """Raise InputError unless an input or an output is (N, channels, H, W) float32 of any height and width."""
    shape = info.shape
    fits = info.data_type == FLOAT and (
        shape is None
        or (len(shape) == 4 and shape[0] in (None, 1) and shape[1] in (None, channels) and shape[2:] == [None, None])
    )
    if not fits:
        got = "unknown" if shape is None else ", ".join("any" if side is None else str(side) for side in shape[:8])
        raise InputError(
            f"{path}: {quoted(info.name)}: expected shape (any, {channels}, any, any) and float32 (data type {FLOAT}),"
            f" got ({got:.60}) and data type {info.data_type}; export it again"
        )
