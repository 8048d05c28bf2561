"""Rates and parameter groups (Chen et al. 2015, section 5; the authors' prototxt)."""

from typing import Any

import torch
from torch import nn

from .._quiet_imports import import_compiler
from ..errors import InputError
from .config import Recipe


def learning_rate(step: int, recipe: Recipe) -> float:
    """Base learning rate of a step, counted from 0.

    Policy "step" is that of Chen et al. 2015, section 5, "poly" that of Chen et al. 2017, section 4.1.
    """
    if recipe.policy == "step":
        return recipe.learning_rate * recipe.gamma ** (step // recipe.step_size)
    rate: float = recipe.learning_rate * (1 - step / recipe.iterations) ** recipe.power
    return rate


def parameter_groups(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """One group per trained parameter, with its rate `multiplier` and its weight decay.

    Biases get `bias_multiplier` and no decay, as in the authors' Caffe files.

    Raises
    ------
    InputError
        If no layer's name, nor a part of one, begins as a multiplier says.
    """
    known = {part for name, _ in net.named_parameters() for part in name.split(".")}
    for beginning in recipe.multipliers:
        if not any(part.startswith(beginning) for part in known):
            raise InputError(
                f"multipliers: no layer of {recipe.variant} begins with {beginning!r}; expected the beginning of one of"
                f" {', '.join(sorted(known - {'weight', 'bias'}))}"
            )
    groups = []
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        parts = name.split(".")
        fits = [m for beginning, m in recipe.multipliers.items() if any(p.startswith(beginning) for p in parts)]
        multiplier = fits[-1] if fits else 1.0
        is_bias = name.endswith(".bias")
        groups.append(
            {
                "params": [parameter],
                "name": name,
                "multiplier": multiplier * (recipe.bias_multiplier if is_bias else 1.0),
                "weight_decay": 0.0 if is_bias else recipe.weight_decay,
            }
        )
    return groups


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over `parameter_groups`."""
    import_compiler()
    groups = parameter_groups(net, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's rate to `rate` times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"]
