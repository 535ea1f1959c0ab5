"""What a report says about the model that it measured."""

from __future__ import annotations

from typing import Any

from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio.model import Model


def model_facts(model: Model | MusicModel) -> dict[str, Any]:
    """Return name, hash, engine, device and precision of a model."""
    return {
        "model": model.name,
        "sha256": model.checkpoint.fingerprint,
        "engine": model.engine.name,
        "device": model.engine.device,
        "precision": model.engine.precision,
    }
