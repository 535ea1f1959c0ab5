"""Recorded weights of MusicGen under canonical names, whatever layout they were recorded in."""

from __future__ import annotations

from typing import Any

from soundloom.checkpoints.musicgen import layouts
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX

Weights = dict[str, Any]
# Components that are read elsewhere, by the start of their names in a whole checkpoint.
OTHERS = ("text_encoder.", "audio_encoder.", ADAPTER_PREFIX)


def canonical(stored: Weights, lora_alpha: float = 0.0) -> Weights:
    """Rename everything and merge LoRA with this strength; the language model has no prefix."""
    if any(name.startswith("model.cp_transformer.") for name in stored):
        names = layouts.LIGHTNING
    elif any(name.startswith("decoder.model.decoder.") for name in stored):
        names = layouts.LM_TRANSFORMERS
    else:
        names = layouts.LM_AUDIOCRAFT
    tensors = layouts.canonical_attention(names.to_canonical(stored))
    return layouts.merge_lora(tensors, lora_alpha)


def lm_weights(stored: Weights, lora_alpha: float = 0.0) -> Weights:
    """The language model's part."""
    return {name: tensor for name, tensor in canonical(stored, lora_alpha).items() if not name.startswith(OTHERS)}


def adapter_weights(stored: Weights) -> Weights:
    """The adapter's part, without its prefix."""
    start = len(ADAPTER_PREFIX)
    return {name[start:]: tensor for name, tensor in canonical(stored).items() if name.startswith(ADAPTER_PREFIX)}
