"""Optimization: learning rate, parameter groups and a step's gradients (Chen et al. 2015, section 5)."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from .._quiet_imports import import_compiler
from ..errors import InputError
from .config import Recipe
from .distributed import Processes
from .losses import Criterion

# As PyTorch names what a processor can do. Without one of these, bfloat16 is emulated and slower than float32.
_CPU_FEATURES = {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX", "bf16": "Arm BF16", "sve_bf16": "SVE BF16"}


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


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's learning rate to `lr` times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["multiplier"]


def memory_format(recipe: Recipe) -> torch.memory_format:
    """Return the layout of images and weights."""
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def backward(
    model: nn.Module,
    criterion: Criterion,
    images: Tensor,
    targets: Tensor,
    cells: float,
    recipe: Recipe,
    group: Processes,
    *,
    bf16: bool,
) -> float:
    """Add the gradients of a step and return this process's share of its loss.

    Parameters
    ----------
    model : Module
    criterion : Criterion
    images, targets : Tensor
        The process's share of the step, computed in the recipe's `accumulate` parts to save memory.
    cells : float
        What the loss is divided by, of all processes.
    recipe : Recipe
    group : Processes
    bf16 : bool
        Convolve in bfloat16.
    """
    loss = torch.zeros((), device=group.device)
    parts = list(zip(images.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True))
    for n, (x, y) in enumerate(parts, start=1):
        x = x.to(group.device, memory_format=memory_format(recipe), non_blocking=True)
        y = y.to(group.device, non_blocking=True)
        with nullcontext() if n == len(parts) else group.without_sync(model):
            with torch.autocast(group.device.type, torch.bfloat16, enabled=bf16):
                scores = model(x)
            part = criterion.total(scores, y) / max(cells, 1e-6)
            # DistributedDataParallel averages the processes' gradients; their losses are to be summed.
            (part * group.count).backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
    return loss.item()


def computes_in_bf16(precision: str, device: torch.device, console: Console) -> bool:
    """Tell whether a recipe's precision is bfloat16 on a device, and report it where the recipe says "auto"."""
    found = bf16_hardware(device) if precision == "auto" else None
    if found is not None:
        console.print(f"precision: bf16 ({found})", highlight=False, markup=False)
    return precision == "bf16" or found is not None


def bf16_hardware(device: torch.device) -> str | None:
    """Return the name of what computes in bfloat16 on a device, or None where nothing does."""
    if device.type == "cuda":
        # Compute capability 8.0, "Ampere", is the first with it.
        return torch.cuda.get_device_name(device) if torch.cuda.get_device_capability(device) >= (8, 0) else None
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return next((name for key, name in _CPU_FEATURES.items() if capabilities.get(key)), None)
