"""Training settings: the recipe with every number of a run, and runtime options."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .._settings_files import parse_toml, read_toml
from ..data.samples import ImageList
from ..errors import InputError
from ..network.variants import VARIANTS


def parsed_setting(text: str) -> tuple[str, Any]:
    """Read `key=value`, the value as in TOML; words need no quotes.

    Examples
    --------
    >>> parsed_setting("crop=193"), parsed_setting("frozen=none"), parsed_setting("scales=[0.5, 1.5]")
    (('crop', 193), ('frozen', 'none'), ('scales', [0.5, 1.5]))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{text:.60}: expected key=value")
    try:
        return key.strip(), parse_toml(f"value = {value.strip()}")["value"]
    except ValueError:
        return key.strip(), value.strip()


def _native_value(value: Any, kind: Any) -> Any:
    """Undo what JSON and TOML cannot say: a tuple, a float without a point, "none".

    Parameters
    ----------
    value
        As read.
    kind
        The setting's type, as annotated.
    """
    options = typing.get_args(kind) if _is_union(kind) else (kind,)
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
    """Raise InputError if a setting is not of its annotated type; numbers in tuples and dictionaries are 0 or more."""
    options = typing.get_args(kind) if _is_union(kind) else (kind,)
    if any(_fits(value, option) for option in options):
        return
    raise InputError(f"{name}={value!r:.60}: expected {' or '.join(_said(option) for option in options)}")


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


def _said(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return "a list of numbers" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} numbers"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a name", type(None): "none"}
    return names.get(kind, "names with numbers")


def _is_union(kind: Any) -> bool:
    return type(kind).__name__ in ("UnionType", "Union", "_UnionGenericAlias")


def _is_number(value: Any) -> bool:
    if isinstance(value, int):  # of any size in JSON and TOML
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float)


def _positive(value: Any) -> bool:
    return _is_number(value) and 0 <= value < float("inf")


# More than any memory holds.
_LARGEST_CROP, _LARGEST_BATCH = 10_000, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run.

    Attributes
    ----------
    variant : str
        Which network of the paper.
    multiscale : bool
        With the paper's multi-scale prediction (MSc).
    crop : int
        Side of the training crops in pixels, 8 k - 7.
    scales : (float, float)
        Photos are zoomed by a random factor between these two before the crop; the paper has none, (1, 1).
    mirror : bool
        Mirror half of the crops.
    balanced : bool
        Draw images with weight 1 / sqrt(count) of their rarest class.
    batch : int
        Crops in a step, over all processes.
    accumulate : int
        Parts of a step's crops that a process computes one after the other: a memory's worth each.
    iterations : int
        Steps.
    optimizer : "sgd" or "adamw"
    learning_rate : float
        Base rate; a layer's is this times its multiplier.
    policy : "step" or "poly"
        How the rate falls: times `gamma` every `step_size` steps (Chen et al. 2015), or as
        (1 - step / iterations) ** `power` (Chen et al. 2017).
    step_size, gamma, power
        See `policy`.
    momentum, weight_decay : float
        Momentum is SGD's; biases are never decayed.
    multipliers : dict of str to float
        Rate multipliers by the beginning of a layer's name or of a part of it ("branches.image.classifier" has
        three); 1 where none fits, the last where several do.
    bias_multiplier : float
        Further factor of all biases' rates.
    frozen : "conv1" to "conv5", "fc8" or None
        Last layer that is not trained; "fc8" leaves MSc's branches alone to learn.
    dropout : float
        Rate after fc6 and fc7.
    class_weights : "equal", "median-frequency" or a tuple of float
        What a cell counts in the loss, by its class. "median-frequency" is the median of the classes' shares of
        the pixels divided by the class's own share.
    clip_norm : float or None
        Largest norm of a step's gradient.
    soft_weight : float
        Share of soft targets in the target of a labeled cell, 0 to 1; 0 trains on the label maps alone.
    precision : "float32", "bf16" or "auto"
        Of the convolutions; weights and loss stay in float32. "auto" is bf16 where the processor or the GPU computes
        in it, else float32.
    channels_last : bool
        Memory layout of the convolutions.
    seed : int
        Of the order, the crops, the mirroring, layers drawn at random and the dropout.
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
    precision: Literal["float32", "bf16", "auto"] = "float32"
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            _check_type(name, getattr(self, name), kind)
        if self.variant not in VARIANTS:
            raise InputError(f"variant={self.variant!r}: expected one of {', '.join(VARIANTS)}")
        for name, largest in (("crop", _LARGEST_CROP), ("batch", _LARGEST_BATCH)):
            if not 1 <= getattr(self, name) <= largest:
                raise InputError(f"{name}={getattr(self, name)}: expected 1 to {largest}")
        if (self.crop + 7) % 8:
            nearest = max(self.crop + 7 + 4, 8) // 8 * 8 - 7
            raise InputError(f"crop={self.crop}: expected 8 k - 7 (193, 201, ... 321); {nearest} is nearest")
        for name in ("accumulate", "iterations", "learning_rate", "step_size", "gamma", "power"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)}: expected a number above 0")
        for name in ("momentum", "weight_decay", "bias_multiplier", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)}: expected 0 or more")
        if self.batch % self.accumulate:
            raise InputError(f"accumulate={self.accumulate}: expected a divisor of batch={self.batch}")
        if self.frozen == "fc8" and not self.multiscale:
            raise InputError("frozen='fc8': nothing would be left to train without multiscale=true")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout}: expected at least 0 and under 1")
        if not 0 <= self.soft_weight <= 1:
            raise InputError(f"soft_weight={self.soft_weight}: expected 0 to 1")
        if not 0.1 <= self.scales[0] <= self.scales[1] <= 10:
            raise InputError(f"scales={self.scales}: expected two factors in rising order, 0.1 to 10")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise InputError(f"clip_norm={self.clip_norm}: expected a number above 0, or none")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Inverse of `as_dict`; an unknown key is an error."""
        return cls().changed(values)

    def changed(self, values: Mapping[str, Any]) -> "Recipe":
        """Return a copy with other values, which may be as JSON or TOML give them.

        Raises
        ------
        InputError
            If a key is unknown or a value cannot be right.
        """
        known = typing.get_type_hints(type(self))
        if unknown := sorted(set(values) - set(known)):
            raise InputError(f"recipe key {unknown[0]!r:.60} is unknown; expected one of {', '.join(sorted(known))}")
        return dataclasses.replace(self, **{key: _native_value(value, known[key]) for key, value in values.items()})

    def to_toml(self) -> str:
        """Return the text of a file that `read_recipe` reads."""
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
        "cpu" or "cuda"; None for GPUs where there is one for each process, else the CPU.
    threads : int or None
        Number of CPU threads; PyTorch's choice if None.
    workers : int
        Data-loading processes, for each training process.
    save_every : int
        Steps between checkpoints.
    validation : ImageList or None
        Images that are scored during training with the network alone.
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

RECIPES = {
    "paper": _PAPER,
    # The best of the TPAMI follow-up's table of policies for LargeFOV.
    "poly": dataclasses.replace(_PAPER, policy="poly", batch=10, iterations=20_000),
    # The branches of MSc on a trained network, which stays as it is; their classifiers learn as fc8 did.
    "msc": dataclasses.replace(_PAPER, multiscale=True, frozen="fc8", multipliers={"classifier": 10.0}),
    # What two CPU cores afford, starting without ImageNet's fc6 and fc7: SGD at the paper's rate stalls on
    # fresh ones for hundreds of steps, AdamW does not. Few epochs underfit, hence the lower dropout.
    "cpu": Recipe(
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
    ),
}


def read_recipe(name: str) -> Recipe:
    """Return a recipe by its name, or of a TOML file, whose key `recipe` names the one that it changes ("paper").

    Raises
    ------
    InputError
        If there is no such recipe or file, or the file is not TOML, has an unknown key or a wrong value.
    """
    if not name.endswith(".toml"):
        if name not in RECIPES:
            raise InputError(f"recipe {name!r} is unknown; expected one of {', '.join(RECIPES)}, or a .toml file")
        return RECIPES[name]
    path = Path(name)
    values = read_toml(path, "a recipe")
    base = values.pop("recipe", "paper")
    if not isinstance(base, str) or base not in RECIPES:
        raise InputError(f"{path}: recipe = {base!r:.60}; expected one of {', '.join(RECIPES)}")
    try:
        return RECIPES[base].changed(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
