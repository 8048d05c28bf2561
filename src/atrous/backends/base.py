"""Base class of the engines: model file, metadata, preprocessing and checks."""

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
from ._cost import cost
from ._onnx_file import FLOAT, Graph, ValueInfo, quoted, read_graph
from ._operators import ShapeError

BUNDLED = "deeplab-largefov-voc12.onnx"

# Test size for the limits below: 8 k - 7 a side, not square, and large enough to show superlinear growth.
_IMAGE = 4097, 8193

# Supported versions of ONNX's operators: from the first with sizes as inputs to the last one tested.
_OPSETS = range(13, 26)

# Limits per pixel. The largest network of the paper, 7x7 with MSc and 255 classes, takes 770 and 2.8 million.
_MOST_NUMBERS = 2_048
_MOST_PRODUCTS = 20_000_000

# Limit on values computed from the weights alone, per stored value; int8 networks have one each.
_MOST_CONSTANTS = 4


class Engine(Protocol):
    """Interface of a network for the segmenter."""

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, palette, CRF parameters."""

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map a (H, W, 3) uint8 RGB image to the (C, h, w) scores of the image padded to 8 k - 7 a side.

        Cell (i, j) lies on pixel (i, j) * `metadata.output_stride`.
        """


def bundled_model_path() -> Path:
    """Return the path of the model that ships with the package.

    Raises
    ------
    InputError
        If this build of the package contains no model.
    """
    path = _bundled()
    if not path.is_file():
        raise InputError(f"{path}: expected the bundled model, but this build of atrous has none; pass a model file")
    return path


def model_files(model: str | os.PathLike[str] | None) -> list[Path]:
    """Return the files that determine a model: an exported file, those at the top of a folder, or the bundled model.

    A folder's model card (`README.md`), hidden files and subfolders are not among them.
    """
    path = Path(bundled_model_path() if model is None else model)
    if not path.is_dir():
        return [path]
    files = (file for file in sorted(path.iterdir()) if file.is_file())
    return [file for file in files if file.suffix != ".md" and not file.name.startswith(".")]


class ExportedEngine(ABC):
    """Engine for a model exported by `atrous export`.

    Parameters
    ----------
    path : path
        An ONNX file with the metadata of atrous.

    Attributes
    ----------
    name : str
        The library, as `Segmenter(engine=...)` accepts it.
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu", "cuda" or "cuda:N".
    several : bool
        Whether several threads may call `scores` at the same time.

    Raises
    ------
    InputError
        If the file does not exist or is not a network exported by `atrous export`: see `read_exported`.
    """

    name: ClassVar[str]
    metadata: ModelMetadata
    device: str = "cpu"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; expected an ONNX model made by atrous export")
        # The tests check the bundled file; a check at each start would take 5 % of the start-up time.
        self.metadata = read_exported(self.path, whole=self.path != _bundled())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.path)!r}, device={self.device!r})"

    @property
    def several(self) -> bool:
        """Whether several threads may call `scores` at the same time."""
        return self.device == "cpu"

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the scores of one image.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB.

        Returns
        -------
        (C, h, w) float32
            Scores of the image padded at the bottom and right to 8 k - 7 a side, on a grid with a step of
            `metadata.output_stride`: 8 pixels, or 1 with multi-scale prediction.

        Raises
        ------
        ComputeError
            If the library fails, for example for lack of memory.
        InputError
            If the scores do not match the metadata, or contain NaN or infinity.
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
        """Map (1, 3, H, W) to (1, C, h, w)."""


def _bundled() -> Path:
    return Path(str(resources.files("atrous") / "models" / BUNDLED))


def read_exported(path: Path, *, whole: bool = True) -> ModelMetadata:
    """Check a model file before a library loads it, and return its metadata.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether to check the graph and the weights, too. If False, check only the metadata.

    Raises
    ------
    InputError
        If the file is not a model exported by `atrous export`: another format; a truncated file; external data; NaN in
        the weights; an unsupported operator; inputs or outputs with other names, types or shapes; invalid metadata or
        metadata of another network; more memory or work than any network of the paper takes.
    """
    graph = read_graph(path, whole=whole)
    if graph.metadata is None:
        raise InputError(f"{path}: expected the metadata of atrous, found none; make the model with atrous export")
    metadata = ModelMetadata.from_json(graph.metadata, str(path))
    if whole:
        _check_graph(path, graph, metadata)
    return metadata


def _check_graph(path: Path, graph: Graph, metadata: ModelMetadata) -> None:
    names = [[info.name for info in infos] for infos in (graph.inputs, graph.outputs)]
    if names != [[b"image"], [b"scores"]]:
        got = " to ".join(", ".join(map(quoted, each[:4])) or "nothing" for each in names)
        raise InputError(
            f"{path}: expected a model from 'image' to 'scores', got one from {got}; make it with atrous export"
        )
    (image,), (scores,) = graph.inputs, graph.outputs
    _check_value_info(path, image, 3)
    _check_value_info(path, scores, len(metadata.classes))
    if graph.opset not in _OPSETS:
        raise InputError(
            f"{path}: expected version {_OPSETS[0]} to {_OPSETS[-1]} of ONNX's operators, got {graph.opset};"
            " export it again"
        )
    try:
        found = cost(graph, (1, 3, *_IMAGE))
    except (ShapeError, MalformedError) as error:
        raise InputError(f"{path}: expected a network made by atrous export ({error}); export it again") from None
    pixels = math.prod(_IMAGE)
    stored = sum(math.prod(tensor.shape) for tensor in graph.tensors.values())
    if found.memory > _MOST_NUMBERS * pixels or found.constants > _MOST_CONSTANTS * stored:
        raise InputError(f"{path}: the network takes more memory than any that atrous exports; export it again")
    if found.products > _MOST_PRODUCTS * pixels:
        raise InputError(f"{path}: the network takes more work than any that atrous exports; export it again")
    if found.scores != (expected := (1, *metadata.scores_shape(*_IMAGE))):
        raise InputError(
            f"{path}: expected scores of shape {expected} for {_IMAGE} pixels, from {len(metadata.classes)} classes and"
            f" output_stride {metadata.output_stride}, got {found.scores}; export it again"
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
