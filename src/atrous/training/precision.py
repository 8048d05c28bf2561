"""Processors and GPUs that compute in bfloat16."""

from collections.abc import Mapping

import torch

# As PyTorch names what a processor can do. Without one of these, bfloat16 is emulated and slower than float32.
_CPU_FEATURES = {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX", "bf16": "Arm BF16", "sve_bf16": "SVE BF16"}


def bf16_reason(device: torch.device) -> str | None:
    """Return the name of what computes in bfloat16 on a device, or None where nothing does."""
    if device.type == "cuda":
        # Compute capability 8.0, "Ampere", is the first with it.
        return torch.cuda.get_device_name(device) if torch.cuda.get_device_capability(device) >= (8, 0) else None
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return next((name for key, name in _CPU_FEATURES.items() if capabilities.get(key)), None)
