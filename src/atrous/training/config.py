"""Training settings: the recipe with all parameters of a run, and runtime options."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .._settings_files import parse_toml, read_toml
from ..data.samples import ImageList
from ..errors import InputError
from ..network.variants import VARIANTS


def parsed_setting(setting: str) -> tuple[str, Any]:
    """Parse `key=value`, with the value in TOML syntax; words need no quotes.

    Examples
    --------
    >>> parsed_setting("crop=193"), parsed_setting("frozen=none"), parsed_setting("scales=[0.5, 1.5]")
    (('crop', 193), ('frozen', 'none'), ('scales', [0.5, 1.5]))
    """
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise InputError(f"setting={setting:.60}: expected key=value")
    try:
        return key.strip(), parse_toml(f"value = {value.strip()}")["value"]
    except ValueError:
        return key.strip(), value.strip()


def _native_value(value: Any, kind: Any) -> Any:
    """Convert a value that JSON and TOML cannot express to its type: tuples, whole numbers as floats, "none"."""
    options = _options(kind)
    if value == "none" and type(None) in options:
        return None
    if isinstance(value, list) and any(typing.get_origin(option) is tuple for option in options):
        return tuple(float(v) if _is_number(v) else v for v in value)
    if _is_number(value) and float in options:
        return float(value)
    if isinstance(value, dict) and all(_is_number(v) for v in value.values()):
        return {str(k): float(v) for k, v in value.items()}
    return value


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Raise InputError if a setting does not have its annotated type. Numbers in collections must be at least 0."""
    options = _options(kind)
    if not any(_fits(value, option) for option in options):
        raise InputError(f"{name}={value!r:.60}: expected {' or '.join(map(_type_name, options))}")


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        length = None if arguments[-1] is Ellipsis else len(arguments)
        return isinstance(value, tuple) and length in (None, len(value)) and all(_positive(v) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(k, str) and _positive(v) for k, v in value.items())
    if kind is float:
        return _is_number(value) and value == value
    if kind is int:
        return isinstance(value, int) and _is_number(value)
    return isinstance(value, kind)


def _type_name(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return "a list of numbers" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} numbers"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a name", type(None): "none"}
    return names.get(kind, "names with numbers")


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _is_number(value: Any) -> bool:
    if isinstance(value, int):  # may have any size in JSON and TOML
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float)


def _positive(value: Any) -> bool:
    return _is_number(value) and 0 <= value < float("inf")


# More than fits into any memory.
_LARGEST_CROP, _LARGEST_BATCH = 10_000, 1_000_000

# The mean field converges in far fewer steps, and each step stores its marginals.
_MOST_CRF_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run.

    Attributes
    ----------
    variant : str
        Name of the network, as in the paper.
    multiscale : bool
        Whether to add the paper's multi-scale prediction (MSc).
    crop : int
        Side of the training crops in pixels, 8 k - 7.
    scales : (float, float)
        Range of the random factor that resizes an image before the crop; (1, 1) in the paper.
    mirror : bool
        Whether to flip half of the crops horizontally.
    balanced : bool
        Whether to draw images with weight 1 / sqrt(count) of their rarest class.
    batch : int
        Crops per step, over all processes.
    accumulate : int
        Number of parts in which a process computes a step's crops, to save memory.
    iterations : int
        Number of steps.
    optimizer : "sgd" or "adamw"
    learning_rate : float
        Base learning rate, which is multiplied by a layer's multiplier.
    policy : "step" or "poly"
        Learning rate policy: multiplied by `gamma` every `step_size` steps (Chen et al. 2015), or by
        (1 - step / iterations) ** `power` (Chen et al. 2017).
    step_size, gamma, power
        See `policy`.
    momentum, weight_decay : float
        Momentum of SGD, and weight decay of all parameters except biases.
    multipliers : dict of str to float
        Learning rate multipliers by prefix of a layer's name or of a part of it ("branches.image.classifier" has three
        parts). Default: 1. If several prefixes match, the last one is used.
    bias_multiplier : float
        Additional multiplier of the learning rate of all biases.
    frozen : "conv1" to "conv5", "fc8" or None
        Last layer that is not trained; "fc8" trains only the branches of MSc.
    dropout : float
        Dropout probability after fc6 and fc7.
    class_weights : "equal", "median-frequency" or a tuple of float
        Weight of a cell in the loss, by its class. "median-frequency": the median of the classes' shares of the pixels
        divided by the class' own share.
    clip_norm : float or None
        Maximum norm of a step's gradient.
    soft_weight : float
        Weight of soft targets in the target of a labeled cell, 0 to 1; 0 uses only the label maps.
    crf_loss : float
        Weight of the fully connected CRF's loss, see `CrfLoss`; for sparse labels such as strokes.
    crf_steps : int
        Mean-field steps of a CRF on top of the network that is trained with it (Zheng et al. 2015); 0 trains the
        network alone.
    crf_stride : 1 or 8
        Step in pixels of the grid of that CRF: 1 for the crop's own pixels, 8 for the score grid, which is faster.
    crf_sigmas : bool
        Whether to learn the standard deviations of the CRF's kernels, too; slow with `crf_stride` 1.
    precision : "float32", "bf16" or "auto"
        Precision of the convolutions; weights and loss are float32. "auto" is bf16 if the processor or the GPU computes
        in it, else float32.
    channels_last : bool
        Whether the convolutions use the channels-last memory layout.
    seed : int
        Seed of order, crops, flips, random initialization and dropout.
    """

    variant: str = "deeplab-largefov"
    multiscale: bool = False
    crop: int = 321
    scales: tuple[float, float] = (1.0, 1.0)
    mirror: bool = True
    balanced: bool = False
    batch: int = 20
    accumulate: int = 1
    iterations: int = 6000
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-3
    policy: Literal["step", "poly"] = "step"
    step_size: int = 2000
    gamma: float = 0.1
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    multipliers: dict[str, float] = field(default_factory=lambda: {"fc8": 10.0})
    bias_multiplier: float = 2.0
    frozen: Literal["conv1", "conv2", "conv3", "conv4", "conv5", "fc8"] | None = None
    dropout: float = 0.5
    class_weights: Literal["equal", "median-frequency"] | tuple[float, ...] = "equal"
    clip_norm: float | None = None
    soft_weight: float = 0.0
    crf_loss: float = 0.0
    crf_steps: int = 0
    crf_stride: int = 1
    crf_sigmas: bool = False
    precision: Literal["float32", "bf16", "auto"] = "float32"
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            _check_type(name, getattr(self, name), kind)
        if self.variant not in VARIANTS:
            raise InputError(f"variant={self.variant!r:.60}: expected one of {', '.join(VARIANTS)}")
        for name, largest in (("crop", _LARGEST_CROP), ("batch", _LARGEST_BATCH)):
            if not 1 <= getattr(self, name) <= largest:
                raise InputError(f"{name}={getattr(self, name)}: expected 1 to {largest}")
        if (self.crop + 7) % 8:
            nearest = max(self.crop + 7 + 4, 8) // 8 * 8 - 7
            raise InputError(f"crop={self.crop}: expected 8 k - 7 (193, 201, ... 321), such as {nearest}")
        for name in ("accumulate", "iterations", "learning_rate", "step_size", "gamma", "power"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)}: expected a number above 0")
        for name in ("momentum", "weight_decay", "bias_multiplier", "crf_loss", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)}: expected 0 or more")
        if not 0 <= self.crf_steps <= _MOST_CRF_STEPS:
            raise InputError(f"crf_steps={self.crf_steps}: expected 0 to {_MOST_CRF_STEPS}")
        if self.crf_stride not in (1, 8):
            raise InputError(f"crf_stride={self.crf_stride}: expected 1 or 8")
        if self.batch % self.accumulate:
            raise InputError(f"accumulate={self.accumulate}: expected a divisor of batch={self.batch}")
        if self.frozen == "fc8" and not self.multiscale:
            raise InputError("frozen='fc8': no layer remains to train without multiscale=true")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout}: expected at least 0 and below 1")
        if not 0 <= self.soft_weight <= 1:
            raise InputError(f"soft_weight={self.soft_weight}: expected 0 to 1")
        if not 0.1 <= self.scales[0] <= self.scales[1] <= 10:
            raise InputError(f"scales={self.scales}: expected two factors in increasing order, 0.1 to 10")
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            raise InputError(f"clip_norm={self.clip_norm}: expected a number above 0, or none")

    @property
    def target_stride(self) -> int:
        """Step in pixels of the grid on which scores are compared with labels."""
        return self.crf_stride if self.crf_steps else 8

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe of `as_dict`; unknown keys are errors."""
        return cls().changed(values)

    def changed(self, values: Mapping[str, Any]) -> "Recipe":
        """Return a copy with other values, in the types of JSON or TOML.

        Raises
        ------
        InputError
            If a key is unknown or a value is invalid.
        """
        known = typing.get_type_hints(type(self))
        if unknown := sorted(set(values) - set(known)):
            raise InputError(f"recipe key: expected one of {', '.join(sorted(known))}, got {unknown[0]!r:.60}")
        return dataclasses.replace(self, **{key: _native_value(value, known[key]) for key, value in values.items()})

    def to_toml(self) -> str:
        """Return TOML for `read_recipe`."""
        lines, tables = [], []
        for key, value in self.as_dict().items():
            if isinstance(value, dict):
                tables += ["", f"[{key}]", *(f"{json.dumps(k)} = {v!r}" for k, v in value.items())]
            else:
                lines.append(f"{key} = {json.dumps('none' if value is None else value)}")
        return "\n".join(lines + tables) + "\n"


@dataclass(frozen=True)
class RunOptions:
    """Runtime options. None of them changes the result beyond floating-point rounding.

    Attributes
    ----------
    device : str or None
        "cpu" or "cuda". Default: GPUs if there is one for each process, else the CPU.
    threads : int or None
        Number of CPU threads. Default: PyTorch's choice.
    workers : int
        Data-loading processes, for each training process.
    save_every : int
        Steps between checkpoints.
    validation : ImageList or None
        Images to score during training, with the network alone.
    evaluate_every : int
        Steps between evaluations; the last step is always evaluated.
    """

    device: str | None = None
    threads: int | None = None
    workers: int = 1
    save_every: int = 100
    validation: ImageList | None = None
    evaluate_every: int = 1000


DEFAULT_OPTIONS = RunOptions()


# Chen et al. 2015, section 5.
_PAPER = Recipe()

# For two CPU cores, without ImageNet's fc6 and fc7: with random ones, SGD at the paper's learning rate stalls for
# hundreds of steps, AdamW does not. Few epochs underfit, hence the lower dropout.
_CPU = Recipe(
    crop=193,
    batch=6,
    iterations=1300,
    optimizer="adamw",
    learning_rate=4e-5,
    policy="poly",
    weight_decay=1e-4,
    multipliers={"fc": 5.0},
    bias_multiplier=1.0,
    frozen="conv3",
    dropout=0.2,
    clip_norm=5.0,
    balanced=True,
    precision="auto",
)

RECIPES = {
    "paper": _PAPER,
    # The best policy for LargeFOV in the table of the follow-up paper.
    "poly": dataclasses.replace(_PAPER, policy="poly", batch=10, iterations=20_000),
    # The branches of MSc on a frozen trained network. Their classifiers have the learning rate of fc8.
    "msc": dataclasses.replace(_PAPER, multiscale=True, frozen="fc8", multipliers={"classifier": 10.0}),
    "cpu": _CPU,
    # The CRF on top of a trained network, on crops at their own scale, which the kernels' widths refer to. Five
    # steps, as in Zheng et al. 2015, who infer with ten.
    "end-to-end": dataclasses.replace(_CPU, crop=321, batch=8, iterations=1000, learning_rate=1e-5, crf_steps=5),
}


def read_recipe(name: str) -> Recipe:
    """Return a recipe by name or from a TOML file, whose key `recipe` names its base (default: "paper").

    Raises
    ------
    InputError
        If there is no such recipe or file, or the file is not TOML, has an unknown key or an invalid value.
    """
    if not name.endswith(".toml"):
        if name not in RECIPES:
            raise InputError(f"recipe: expected one of {', '.join(RECIPES)}, or a .toml file, got {name!r:.60}")
        return RECIPES[name]
    path = Path(name)
    values = read_toml(path, "a recipe")
    base = values.pop("recipe", "paper")
    if not isinstance(base, str) or base not in RECIPES:
        raise InputError(f"{path}: recipe: expected one of {', '.join(RECIPES)}, got {base!r:.60}")
    try:
        return RECIPES[base].changed(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
