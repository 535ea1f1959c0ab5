"""Recorded weights of MusicGen under canonical names, from any published layout."""

from __future__ import annotations

from typing import Any

from soundloom.checkpoints.musicgen import layouts
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX

Weights = dict[str, Any]
# Prefixes of the components that are not part of the language model.
OTHERS = ("text_encoder.", "audio_encoder.", ADAPTER_PREFIX)


def canonical(stored: Weights, lora_alpha: float = 0.0) -> Weights:
    """Rename all weights and merge LoRA with `lora_alpha`; the language model has no prefix."""
    if any(name.startswith("model.cp_transformer.") for name in stored):
        names = layouts.LIGHTNING
    elif any(name.startswith("decoder.model.decoder.") for name in stored):
        names = layouts.LM_TRANSFORMERS
    else:
        names = layouts.LM_AUDIOCRAFT
    tensors = layouts.canonical_attention(names.to_canonical(stored))
    return layouts.merge_lora(tensors, lora_alpha)


def lm_weights(stored: Weights, lora_alpha: float = 0.0) -> Weights:
    """Return the weights of the language model."""
    return {name: tensor for name, tensor in canonical(stored, lora_alpha).items() if not name.startswith(OTHERS)}


def adapter_weights(stored: Weights) -> Weights:
    """Return the weights of the adapter, without their prefix."""
    start = len(ADAPTER_PREFIX)
    return {name[start:]: tensor for name, tensor in canonical(stored).items() if name.startswith(ADAPTER_PREFIX)}
