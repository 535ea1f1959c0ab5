"""Prepare an adapter for a model: check that it fits, and complete the bases of -xs types."""

from __future__ import annotations

from pathlib import Path

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.lora.adapter import Adapter
from soundloom.lora.bases import training_weights, with_bases
from soundloom.lora.guardrails import fit
from soundloom.lora.modules import base_weights


def fitted(
    adapter: Adapter, checkpoint: Checkpoint, *, bases: str | Path | None = None, partial: bool = False
) -> Adapter:
    """Return an adapter that can act in a model, with notices of what is unusual. Raises CheckpointError."""
    weights = base_weights(checkpoint)
    adapter = fit(adapter, weights, checkpoint.name, partial=partial)
    return with_bases(adapter, weights, bases, training_weights(adapter, checkpoint))
