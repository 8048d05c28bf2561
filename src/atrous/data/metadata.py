"""What has to be known about a model beside its weights, stored in the model's file."""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import InputError

# The ONNX file's metadata entry that holds the JSON.
METADATA_KEY = "atrous"

# Beside the weights, in a folder by the segmenter's save_pretrained: JSON that holds the metadata too.
CONFIG = "config.json"

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
        Of the bilateral kernel; `sxy` in pixels of the image that the network sees.
    spatial_weight, spatial_sxy : float
        Of the spatial kernel.
    iterations : int
        Mean-field steps.
    normalization : str
        Of both kernels.
    """

    weight: float
    sxy: float
    srgb: float
    spatial_weight: float = 3.0
    spatial_sxy: float = 3.0
    iterations: int = 10
    normalization: Literal["none", "before", "after", "symmetric"] = "after"


@dataclass(frozen=True)
class ModelMetadata:
    """Everything between a photo and the meaning of a score, apart from the network itself.

    Attributes
    ----------
    variant : str
        Which network of the paper.
    classes : tuple of str
        Names by label id, background first.
    palette : tuple of (red, green, blue)
        A colour per class.
    mean : tuple of float
        Mean pixel that was subtracted, in `colour_order`, 0 to 255.
    colour_order : "BGR" or "RGB"
        Of the network's input channels.
    output_stride : int
        Pixels from one cell of the score grid to the next.
    precision : str
        "float32", "float16" or "int8".
    crf : CrfParameters
    training_list, training_list_sha256 : str
        Name of the list of training images and hash of its sorted names.
    notes : str
        Where the weights come from and under which terms.
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
    colour_order: Literal["BGR", "RGB"] = "BGR"
    output_stride: int = 8
    format: int = field(default=1)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> "ModelMetadata":
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
        source : str
            Name of the file, for errors.

        Raises
        ------
        InputError
            If the text is no JSON, a key is missing or unknown, or a value cannot be right.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"{source}: its atrous metadata is not JSON ({error})") from None
        if isinstance(values, dict) and values.get("format") != 1:
            raise InputError(
                f"{source}: metadata of format {values.get('format')!r}, this version reads 1; update atrous"
            )
        values = _checked(cls, values, source)
        values["crf"] = CrfParameters(**_checked(CrfParameters, values["crf"], source))
        try:
            values["classes"] = tuple(map(str, values["classes"]))
            values["palette"] = tuple((int(r), int(g), int(b)) for r, g, b in values["palette"])
            blue, green, red = map(float, values["mean"])
            values["mean"] = (blue, green, red)
        except (TypeError, ValueError) as error:
            raise InputError(f"{source}: classes, palette or mean in its metadata cannot be right ({error})") from None
        metadata = cls(**values)
        if len(metadata.classes) != len(metadata.palette):
            raise InputError(
                f"{source}: metadata has {len(metadata.classes)} classes but {len(metadata.palette)} colours"
            )
        return metadata


_NUMBERS: dict[Any, Any] = {int: int, float: (int, float)}


def _checked(kind: type[Any], values: Any, source: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise InputError(f"{source}: expected an object for {kind.__name__}, got {type(values).__name__}")
    known = {f.name for f in dataclasses.fields(kind)}
    required = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    if wrong := sorted(set(values) - known):
        raise InputError(f"{source}: its metadata has the unknown key {wrong[0]!r}; update atrous")
    if wrong := sorted(required - set(values)):
        raise InputError(f"{source}: its metadata lacks the key {wrong[0]!r}; export the model again")
    choices = typing.get_type_hints(kind)
    for name, value in values.items():
        allowed = typing.get_args(choices[name]) if typing.get_origin(choices[name]) is Literal else ()
        if allowed and value not in allowed:
            raise InputError(f"{source}: {name}={value!r} in its metadata; expected one of {allowed}")
        if choices[name] in _NUMBERS and (isinstance(value, bool) or not isinstance(value, _NUMBERS[choices[name]])):
            raise InputError(f"{source}: {name}={value!r} in its metadata; expected a number")
    return values
