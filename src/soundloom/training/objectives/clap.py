"""CLAP as a scorer of decoded latents against captions.

The checkpoint is a folder in the layout of transformers, without feature fusion; the evaluation uses the same network.
Letters: b batch, c latent channels, t frames, n samples, d width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import CheckpointError
from soundloom.evaluation.embedders.networks.clap import ClapNetwork, open_clap
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.data.batches import TrainingBatch
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.scorers import geodesic


class ClapScorer:
    """A frozen scorer; not a module, so that no state dict includes its weights.

    `same` decodes at `rate` hertz, `tokenizer` decodes the ids of captions. Raises EngineError without transformers,
    CheckpointError for a folder without a suitable model.
    """

    def __init__(self, folder: Path, same: SAME, rate: int, tokenizer: Tokenizer) -> None:
        self.same, self.rate, self.captions = same.eval().requires_grad_(False), rate, tokenizer
        self.device = same.bottleneck.running_std.device
        model, self.extractor, self.text_tokenizer = _open(folder)
        self.network = ClapNetwork(model, self.extractor).to(self.device)

    def distance(self, latents: Tensor, batch: TrainingBatch, stream: RngStream) -> Tensor:
        """Half the squared angle (b,) between the audio of latents (b, c, t) and captions."""
        lengths = [round(seconds * self.rate) for seconds in batch.seconds.tolist()]
        sounds = [sound[:length] for sound, length in zip(self.same.decode(latents).mean(1), lengths, strict=True)]
        return geodesic(self.embed_audio(sounds, stream), self.embed_text(batch.ids, batch.mask))

    def embed_audio(self, sounds: list[Tensor], stream: RngStream) -> Tensor:
        """Embed mono sounds (n,) of any lengths as unit vectors (b, d)."""
        crops = [
            self._fit_length(resample_fft(sound, self.rate, self.extractor.sampling_rate), stream) for sound in sounds
        ]
        return self.network(torch.stack(crops))

    @torch.no_grad()
    def embed_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embed captions (b, s) as unit vectors (b, d)."""
        texts = [self.captions.text(row[real].tolist()) for row, real in zip(ids, mask, strict=True)]
        tokens = self.text_tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        return self.network.embed_tokens(tokens.input_ids, tokens.attention_mask)

    def _fit_length(self, sound: Tensor, stream: RngStream) -> Tensor:
        """Crop randomly to the model's length, or repeat as often as fits and pad with silence."""
        size, length = self.extractor.nb_max_samples, len(sound)
        start = int(stream.rng.integers(max(1, length - size + 1)))
        crop = sound[start : start + size].repeat(max(1, size // length))
        return F.pad(crop, (0, size - len(crop)))


def resample_fft(sound: Tensor, rate: int, new_rate: int) -> Tensor:
    """Resample (n,) by truncating or extending its spectrum."""
    length = round(len(sound) * new_rate / rate)
    return torch.fft.irfft(torch.fft.rfft(sound), n=length) * (length / len(sound))


def _open(folder: Path) -> tuple[Any, Any, Any]:
    if not folder.is_dir():
        raise CheckpointError(
            f"there is no folder {folder} with a CLAP model", "set scorer.clap to a folder, or leave it empty"
        )
    return open_clap(folder)
