"""How a network is trained: every number in one place."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run.

    Attributes
    ----------
    variant : str
        Which network of the paper.
    crop : int
        Side of the training crops in pixels, 32 k - 31.
    batch, iterations : int
        Crops in a step; steps.
    optimizer : "sgd" or "adamw"
    learning_rate : float
        Base rate; a layer's is this times its multiplier.
    power : float
        Of the poly policy: rate * (1 - step / iterations) ** power.
    momentum, weight_decay : float
        Momentum is SGD's; biases are never decayed.
    multipliers : dict of str to float
        Rate multipliers by the beginning of a layer's name; 1 where none fits.
    bias_multiplier : float
        Further factor of all biases' rates.
    frozen : str or None
        Last stage of the trunk that is not trained.
    dropout : float
        Rate after fc6 and fc7.
    clip_norm : float or None
        Largest norm of a step's gradient.
    balanced : bool
        Draw images with weight 1 / sqrt(count) of their rarest class.
    seed : int
        Of the order, the crops, the mirroring, fc6 to fc8 and the dropout.
    """

    variant: str = "deeplab-largefov"
    crop: int = 321
    batch: int = 20
    iterations: int = 6000
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-3
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    multipliers: dict[str, float] = field(default_factory=lambda: {"fc8": 10.0})
    bias_multiplier: float = 2.0
    frozen: str | None = None
    dropout: float = 0.5
    clip_norm: float | None = None
    balanced: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.crop < 1 or (self.crop + 31) % 32:
            nearest = max(self.crop + 31 + 16, 32) // 32 * 32 - 31
            raise InputError(f"crop={self.crop}: expected 32 k - 31 (161, 193, ... 321); {nearest} is nearest")
        for name in ("batch", "iterations", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)}: expected a number above 0")
        if self.optimizer not in ("sgd", "adamw"):
            raise InputError(f"optimizer={self.optimizer!r}: expected 'sgd' or 'adamw'")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout}: expected at least 0 and under 1")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Inverse of `as_dict`; an unknown key is an error."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"recipe key {unknown[0]!r} is unknown; expected one of {', '.join(sorted(known))}")
        return cls(**values)


RECIPES = {
    # Chen et al. 2015, section 4, with the poly policy of the TPAMI follow-up.
    "paper": Recipe(),
    # What two CPU cores afford, starting without ImageNet's fc6 and fc7: SGD at the paper's rate stalls on
    # fresh ones for hundreds of steps, AdamW does not. Few epochs underfit, hence the lower dropout.
    "cpu": Recipe(
        crop=193,
        batch=6,
        iterations=1300,
        optimizer="adamw",
        learning_rate=4e-5,
        weight_decay=1e-4,
        multipliers={"fc": 5.0},
        bias_multiplier=1.0,
        frozen="conv3",
        dropout=0.2,
        clip_norm=5.0,
        balanced=True,
    ),
}
