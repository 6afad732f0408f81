"""The performance modes of Fooocus, and what they load by themselves."""

from __future__ import annotations

import re

__all__ = ["mode_key", "own_loras"]

#: The LoRA that a mode loads beside the user's; its own file first, then those of forks.
_LORAS = {
    "extremespeed": ("sdxl_lcm_lora.safetensors",),
    "lightning": ("sdxl_lightning_4step_lora.safetensors",),
    "hypersd": ("sdxl_hyper_sd_4step_lora.safetensors", "hyper-sdxl-8steps-lora.safetensors"),
}


def mode_key(name: object) -> str:
    """Return a mode as modes are compared: ``hypersd`` of ``Hyper-SD`` and ``HYPER_SD``."""
    return re.sub(r"[\W_]", "", str(name or "")).casefold()


def own_loras(name: object) -> tuple[str, ...]:
    """Return the files that the LoRA of a mode may be in, the likeliest first; none for others."""
    return _LORAS.get(mode_key(name), ())
