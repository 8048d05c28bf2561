"""Processors and GPUs that compute in bfloat16."""

from collections.abc import Mapping

import torch
from rich.console import Console

# As PyTorch names what a processor can do. Without one of these, bfloat16 is emulated and slower than float32.
_CPU_FEATURES = {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX", "bf16": "Arm BF16", "sve_bf16": "SVE BF16"}


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
