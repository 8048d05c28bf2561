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
from .losses import CrfLoss, Criterion

# PyTorch's names of CPU features. Without one of them, bfloat16 is emulated and slower than float32.
_CPU_FEATURES = {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX", "bf16": "Arm BF16", "sve_bf16": "SVE BF16"}


# Of the learning rate of the CRF's weights, which are that much larger than a network's.
_CRF_MULTIPLIER = 1000.0


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the base learning rate of a step, counted from 0.

    Policy "step" is that of Chen et al. 2015, section 5; "poly" is that of Chen et al. 2017, section 4.1.
    """
    if recipe.policy == "step":
        return recipe.learning_rate * recipe.gamma ** (step // recipe.step_size)
    rate: float = recipe.learning_rate * (1 - step / recipe.iterations) ** recipe.power
    return rate


def parameter_groups(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return one group per trained parameter, with its learning rate `multiplier` and its weight decay.

    Biases get `bias_multiplier` and no decay, as in the authors' Caffe files. The CRF's weights get no decay.

    Raises
    ------
    InputError
        If no layer's name, and no part of one, starts with the prefix of a multiplier.
    """
    known = {part for name, _ in net.named_parameters() for part in name.split(".")}
    for prefix in recipe.multipliers:
        if not any(part.startswith(prefix) for part in known):
            raise InputError(
                f"multipliers: expected a prefix of a layer of {recipe.variant}, got {prefix!r}; the names are"
                f" {', '.join(sorted(known - {'weight', 'bias'}))}"
            )
    groups = []
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        parts = name.split(".")
        fits = [m for prefix, m in recipe.multipliers.items() if any(p.startswith(prefix) for p in parts)]
        of_crf = parts[0] == "crf"
        multiplier = fits[-1] if fits else _CRF_MULTIPLIER if of_crf else 1.0
        is_bias = name.endswith(".bias")
        groups.append(
            {
                "params": [parameter],
                "name": name,
                "multiplier": multiplier * (recipe.bias_multiplier if is_bias else 1.0),
                "weight_decay": 0.0 if is_bias or of_crf else recipe.weight_decay,
            }
        )
    return groups


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return SGD with momentum or AdamW over `parameter_groups`."""
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
    """Return the memory layout of images and weights."""
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
    """Accumulate the gradients of a step and return this process' part of its loss.

    Parameters
    ----------
    model : Module
    criterion : Criterion
    images, targets : Tensor
        The process' part of the step, computed in `accumulate` parts of the recipe to save memory.
    cells : float
        Divisor of the loss over all processes.
    recipe : Recipe
    group : Processes
    bf16 : bool
        Whether to run convolutions in bfloat16.
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
            if recipe.crf_loss > 0:
                part = part + CrfLoss(recipe.crf_loss).total(scores, x) / recipe.batch
            # DistributedDataParallel averages gradients, but the processes' losses must be summed.
            (part * group.count).backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
    return loss.item()


def computes_in_bf16(precision: str, device: torch.device, console: Console) -> bool:
    """Return whether a recipe's precision is bfloat16 on a device; report it for "auto"."""
    found = bf16_hardware(device) if precision == "auto" else None
    if found is not None:
        console.print(f"precision: bf16 ({found})", highlight=False, markup=False)
    return precision == "bf16" or found is not None


def bf16_hardware(device: torch.device) -> str | None:
    """Return the name of a device's bfloat16 hardware, or None."""
    if device.type == "cuda":
        # Compute capability 8.0, "Ampere", introduced it.
        return torch.cuda.get_device_name(device) if torch.cuda.get_device_capability(device) >= (8, 0) else None
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return next((name for key, name in _CPU_FEATURES.items() if capabilities.get(key)), None)
