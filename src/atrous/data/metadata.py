"""Model metadata: everything besides the weights that a model file stores."""

import dataclasses
import json
import os
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._resources import is_integer
from .._settings_files import LONGEST_NAME, parse_json, read_json
from ..crf.kernels import Bilateral, Spatial
from ..crf.presets import resolve
from ..errors import InputError
from ..labelmap.voc_colormap import VOID

# Metadata entry of an ONNX file that contains the JSON.
METADATA_KEY = "atrous"

# JSON file with the metadata, beside the weights in a folder of the segmenter's save_pretrained.
CONFIG = "config.json"

MOST_CLASSES = VOID  # the last 8-bit id is void
_LONGEST_TEXT = 100_000

# The paper uses ten steps. More than a few dozen have no effect.
MOST_ITERATIONS = 1000
_SIGMAS = 0.01, 1e6
_LARGEST_WEIGHT = 1e6

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus"),
    *("car", "cat", "chair", "cow", "diningtable", "dog", "horse"),
    *("motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True)
class CrfParameters:
    """The two kernels of Chen et al. 2015, section 4, tuned for one model.

    Attributes
    ----------
    weight, sxy, srgb : float
        Of the bilateral kernel; `sxy` in pixels of the network's input image.
    spatial_weight, spatial_sxy : float
        Of the spatial kernel.
    iterations : int
        Mean-field steps, up to 1,000.
    normalization : str
        Normalization of both kernels.

    Raises
    ------
    InputError
        If a weight is below 0 or above 10^6, a standard deviation is not from 0.01 to 10^6, or another value has the
        wrong type or is out of range.
    """

    weight: float
    sxy: float
    srgb: float
    spatial_weight: float = 3.0
    spatial_sxy: float = 3.0
    iterations: int = 10
    normalization: Literal["none", "before", "after", "symmetric"] = "after"

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("weight", "spatial_weight"):
            _check_range(name, getattr(self, name), 0, _LARGEST_WEIGHT)
        for name in ("sxy", "srgb", "spatial_sxy"):
            _check_range(name, getattr(self, name), *_SIGMAS)
        _check_range("iterations", self.iterations, 0, MOST_ITERATIONS)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "CrfParameters":
        """Read the JSON file that `atrous tune` writes.

        Raises
        ------
        InputError
            If the file cannot be read, is not JSON, a key is missing or unknown, or a value is out of range.
        """
        expected = "CRF parameters as JSON from atrous tune"
        values = read_json(path, expected)
        if not isinstance(values, dict) or not {"weight", "sxy", "srgb"} <= values.keys():
            raise InputError(f"{path}: expected {expected}, got another JSON file, without weight, sxy and srgb")
        return _built(cls, values, str(path))

    @classmethod
    def of_preset(cls, name: str) -> "CrfParameters":
        """Return the parameters of a released model. Raises InputError for an unknown name."""
        spatial, bilateral = resolve(name)
        assert isinstance(spatial, Spatial)
        assert isinstance(bilateral, Bilateral)
        sxy, srgb, near = (float(np.max(sigma)) for sigma in (bilateral.sxy, bilateral.srgb, spatial.sxy))
        return cls(bilateral.weight, sxy, srgb, spatial.weight, near)

    @property
    def kernels(self) -> tuple[Spatial, Bilateral]:
        """The kernels with these parameters."""
        return (
            Spatial(weight=self.spatial_weight, sxy=self.spatial_sxy),
            Bilateral(weight=self.weight, sxy=self.sxy, srgb=self.srgb),
        )


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of a network: preprocessing, classes, CRF parameters and provenance.

    Attributes
    ----------
    variant : str
        Name of the network, as in the paper.
    classes : tuple of str
        Names by label id, background first: 2 to 255, all different.
    palette : tuple of (red, green, blue)
        Color of each class, 0 to 255.
    mean : tuple of float
        Mean pixel to subtract, in `color_order`, 0 to 255.
    color_order : "BGR" or "RGB"
        Order of the network's input channels.
    output_stride : int
        Step of the score grid in pixels: 1, 2, 4 or 8.
    precision : str
        "float32", "float16" or "int8".
    crf : CrfParameters
    training_list, training_list_sha256 : str
        Name of the training list, and hash of its sorted image names.
    notes : str
        Origin of the weights and their license terms.

    Raises
    ------
    InputError
        If a value has the wrong type or is out of range.
    """

    variant: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]
    crf: CrfParameters
    training_list: str
    training_list_sha256: str
    precision: Literal["float32", "float16", "int8"]
    notes: str = ""
    color_order: Literal["BGR", "RGB"] = "BGR"
    output_stride: int = 8
    format: int = field(default=1)

    def __post_init__(self) -> None:
        _check_types(self)
        check_classes(self.classes)
        check_palette(self.palette, len(self.classes))
        if not isinstance(self.mean, tuple) or len(self.mean) != 3:
            raise InputError(f"mean: expected 3 numbers, got {self.mean!r:.60}")
        for value in self.mean:
            _check_range("mean", value, 0, 255)
        # Images are padded to 8 k - 7 a side, where these grids coincide with both corner pixels.
        if self.output_stride not in (1, 2, 4, 8):
            raise InputError(f"output_stride: expected 1, 2, 4 or 8, got {self.output_stride!r:.60}")

    def scores_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of the scores of an image with sides of 8 k - 7 pixels."""
        stride = self.output_stride
        return len(self.classes), (height - 1) // stride + 1, (width - 1) // stride + 1

    def to_json(self) -> str:
        """Return JSON for `from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> "ModelMetadata":
        """Parse the output of `to_json`.

        Parameters
        ----------
        text : str
        source : str
            Name of the file for messages.

        Raises
        ------
        InputError
            If the text is not JSON, a key is missing or unknown, or a value is invalid.
        """
        return cls.from_values(parse_json(text, source, "the metadata of atrous"), source)

    @classmethod
    def from_values(cls, values: Any, source: str) -> "ModelMetadata":
        """Build from parsed JSON; see `from_json`."""
        if isinstance(values, dict) and values.get("format") != 1:
            raise InputError(
                f"{source}: expected metadata of format 1, got {values.get('format')!r:.60}; update atrous"
            )
        if isinstance(values, dict):  # older files have another spelling of one key
            values = {"color_order" if key == "colour_order" else key: value for key, value in values.items()}
        _check_keys(cls, values, source)
        crf = _built(CrfParameters, values["crf"], f"{source}: crf")
        lists = {name: tuples(values[name]) for name in ("classes", "palette", "mean")}
        return _built(cls, {**values, **lists, "crf": crf}, source)

    def check_scores(self, scores: NDArray[Any], size: tuple[int, ...], source: str) -> None:
        """Raise InputError unless a network's scores match this metadata.

        Parameters
        ----------
        scores : array
            Expected (classes, h, w) float32, finite.
        size : (height, width)
            Of the network's padded input.
        source : str
            The model's file for the message.
        """
        height, width = size
        stride = self.output_stride
        expected = self.scores_shape(height, width)
        if scores.shape != expected or scores.dtype != np.float32:
            raise InputError(
                f"{source}: expected scores of shape {expected} float32 for {height}x{width} pixels, from"
                f" {len(self.classes)} classes and output_stride {stride}; got {scores.shape} {scores.dtype};"
                " export the model again"
            )
        if not np.isfinite(scores).all():
            raise InputError(
                f"{source}: expected finite scores, got NaN or infinity, an error of the model; train or export"
                f" it again{', in float32' if self.precision == 'float16' else ''}, or use another one"
            )


def check_classes(classes: Any) -> None:
    """Raise InputError unless the value is a tuple of 2 to 255 distinct names."""
    if not isinstance(classes, tuple) or not 2 <= len(classes) <= MOST_CLASSES:
        got = len(classes) if isinstance(classes, tuple) else f"{classes!r:.60}"
        raise InputError(f"classes: expected 2 to {MOST_CLASSES} names, got {got}")
    for name in classes:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not _is_text(name):
            raise InputError(f"classes: expected names of 1 to {LONGEST_NAME} characters, got {name!r:.60}")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise InputError(f"classes: expected distinct names, got {twice!r:.60} twice")


def check_palette(palette: Any, classes: int) -> None:
    """Raise InputError unless the value is a tuple of (red, green, blue), 0 to 255, for each class."""
    if not isinstance(palette, tuple) or len(palette) != classes:
        raise InputError(f"palette: expected a color for each of {classes} classes, got {palette!r:.60}")
    for color in palette:
        if not (isinstance(color, tuple) and len(color) == 3 and all(map(_is_byte, color))):
            raise InputError(f"palette: expected red, green and blue from 0 to 255, got {color!r:.60}")


def tuples(value: Any) -> Any:
    """Convert nested lists from JSON to tuples; return other values unchanged."""
    return tuple(tuple(v) if isinstance(v, list) else v for v in value) if isinstance(value, list) else value


def _built(kind: type[Any], values: Any, source: str) -> Any:
    _check_keys(kind, values, source)
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _check_keys(kind: type[Any], values: Any, source: str) -> None:
    if not isinstance(values, dict):
        raise InputError(f"{source}: expected an object for {kind.__name__}, got {type(values).__name__}")
    known = {f.name for f in dataclasses.fields(kind)}
    required = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    if wrong := sorted(set(values) - known):
        raise InputError(f"{source}: unknown metadata key {wrong[0]!r:.60}; update atrous")
    if wrong := sorted(required - set(values)):
        raise InputError(f"{source}: missing metadata key {wrong[0]!r}; export the model again")


def _is_text(name: str) -> bool:
    """Return whether a name has no surrogates, which JSON may contain but files may not."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_byte(value: Any) -> bool:
    return is_integer(value) and 0 <= value <= 255


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    number = is_integer(value) or isinstance(value, (float, np.floating))
    if not number or not low <= value <= high:  # false for NaN
        raise InputError(f"{name}: expected a number from {low:g} to {high:g}, got {value!r:.60}")


def _check_types(settings: Any) -> None:
    """Raise InputError unless text, whole numbers and CrfParameters have their types."""
    for name, kind in typing.get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if typing.get_origin(kind) is Literal:
            if value not in typing.get_args(kind):
                raise InputError(f"{name}: expected one of {typing.get_args(kind)}, got {value!r:.60}")
        elif kind is int and not is_integer(value):
            raise InputError(f"{name}: expected a whole number, got {value!r:.60}")
        elif kind is str and not (isinstance(value, str) and len(value) <= _LONGEST_TEXT):
            raise InputError(f"{name}: expected text of up to {_LONGEST_TEXT} characters, got {value!r:.60}")
        elif kind is CrfParameters and not isinstance(value, CrfParameters):
            raise InputError(f"{name}: expected CrfParameters, got {value!r:.60}")
