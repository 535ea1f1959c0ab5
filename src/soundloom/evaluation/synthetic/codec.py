"""Measure the reconstruction of the autoencoder on held-out synthetic clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.audio.mel import log_mel_difference
from soundloom.datasets.synthetic import HeldOutPrompt
from soundloom.evaluation.metrics import Metric, mean_metric
from soundloom.evaluation.spectra import buzz, si_sdr
from soundloom.evaluation.synthetic.editing import reference_clip
from soundloom.pipeline.stable_audio.model import Model

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]  # decoded and real, (2, samples)


def codec_metrics(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Metric]:
    """Return log-mel difference, SI-SDR and buzz at the latent rate."""
    pairs = _reconstruct(model, [reference_clip(prompt, seconds, i) for i, prompt in enumerate(prompts)])
    rate = model.sample_rate
    latent_rate = rate / model.checkpoint.config.same.downsampling_ratio
    excess = buzz([decoded for decoded, _ in pairs], [real for _, real in pairs], rate, latent_rate)
    return [
        mean_metric("autoencoder: log-mel difference", [log_mel_difference(*pair, rate) for pair in pairs], "dB", 4.0),
        mean_metric("autoencoder: SI-SDR", [si_sdr(*pair) for pair in pairs], "dB"),
        Metric(
            f"autoencoder: tone at the latent rate, {latent_rate:.2f} Hz",
            excess,
            len(pairs),
            None,
            6.0,
            "at most",
            "dB",
        ),
    ]


def unrestricted_codec_metrics(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Metric]:
    """Return the log-mel difference on sounds that are neither plain nor tuned, for models trained only on such."""
    pairs = _reconstruct(model, [reference_clip(prompt, seconds, i) for i, prompt in enumerate(prompts)])
    differences = [log_mel_difference(*pair, model.sample_rate) for pair in pairs]
    return [mean_metric("autoencoder: log-mel difference, any sounds", differences, "dB")]


def _reconstruct(model: Model, clips: Sequence[Clip]) -> list[Pair]:
    """Pair each clip after encoding and decoding with the clip itself."""
    decoded = [model.decode(model.encode(clip), samples=clip.samples).audio for clip in clips]
    return list(zip(decoded, [clip.audio for clip in clips], strict=True))
