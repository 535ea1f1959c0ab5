"""A model's autoencoder in the form that datasets use."""

from __future__ import annotations

from soundloom.datasets.fidelity import Codec
from soundloom.pipeline.stable_audio.model import Model


def model_codec(model: Model) -> Codec:
    """Return the autoencoder of a model on any engine."""
    return Codec(
        model.encode,
        model.sample_rate,
        model.checkpoint.config.same.downsampling_ratio,
        model.checkpoint.fingerprint,
        lambda latents, samples: model.decode(latents, samples).audio,
    )
