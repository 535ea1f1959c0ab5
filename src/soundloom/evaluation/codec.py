"""What the autoencoder alone loses, on held-out synthetic clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.audio.mel import log_mel_difference
from soundloom.datasets.synthetic import HeldOutPrompt
from soundloom.evaluation.editing import rendered
from soundloom.evaluation.report import Row, mean_row
from soundloom.evaluation.spectra import buzz, si_sdr
from soundloom.pipeline.stable_audio.model import Model

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]  # made and real, (2, samples)


def codec_rows(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Row]:
    """Log-mel difference, SI-SDR, the losses of training that need no other networks, and buzz at the latent rate."""
    pairs, latents = _through(model, [rendered(prompt, seconds, i) for i, prompt in enumerate(prompts)])
    rate = model.sample_rate
    line_rate = rate / model.checkpoint.config.same.downsampling_ratio
    lines = buzz([made for made, _ in pairs], [real for _, real in pairs], rate, line_rate)
    return [
        mean_row("autoencoder: log-mel difference", [log_mel_difference(*pair, rate) for pair in pairs], "dB", 4.0),
        mean_row("autoencoder: SI-SDR", [si_sdr(*pair) for pair in pairs], "dB"),
        Row(f"autoencoder: lines at {line_rate:.2f} Hz", lines, len(pairs), None, 6.0, "at most", "dB"),
        *_losses(pairs, latents),
    ]


def wider_rows(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Row]:
    """Log-mel difference of sounds that are neither plain nor tuned, for models that learnt such ones alone."""
    pairs = _through(model, [rendered(prompt, seconds, i) for i, prompt in enumerate(prompts)])[0]
    found = [log_mel_difference(*pair, model.sample_rate) for pair in pairs]
    return [mean_row("autoencoder: log-mel difference, any sounds", found, "dB")]


def _through(model: Model, clips: Sequence[Clip]) -> tuple[list[Pair], list[NDArray[np.float32]]]:
    """Clips beside what the autoencoder makes of them, and their latents."""
    latents = [model.encode(clip) for clip in clips]
    made = [model.decode(code, samples=clip.samples).audio for code, clip in zip(latents, clips, strict=True)]
    return list(zip(made, [clip.audio for clip in clips], strict=True)), latents


def _losses(pairs: Sequence[Pair], latents: Sequence[NDArray[np.float32]]) -> list[Row]:
    """The spectral loss and the bottleneck's, with the weights that training has by default."""
    import torch

    from soundloom.training.config import SpectralConfig
    from soundloom.training.objectives.spectral.losses import SpectralLoss, softnorm_loss

    spectral = SpectralLoss(SpectralConfig())
    distances = [float(spectral(*(torch.from_numpy(clip)[None] for clip in pair))) for pair in pairs]
    norms = [float(softnorm_loss(torch.from_numpy(code)[None])) for code in latents]
    return [mean_row("autoencoder: spectral loss", distances, ""), mean_row("autoencoder: SoftNorm loss", norms, "")]
