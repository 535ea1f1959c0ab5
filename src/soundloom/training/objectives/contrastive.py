"""Contrastive alignment: a critic scores how well audio, caption and latents match.

It reads [audio ‖ text ‖ latents ‖ critic token]; critic and autoencoder minimize the same loss.
Letters: b batch, n audio tokens, s text tokens, t latents, d width. Source: SAME, as described for its training code;
its wavelet packet of the audio, an orthogonal map of patches, is left to the learned projection.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from soundloom.engines.torch.stable_audio.same import to_patches
from soundloom.training.config import ContrastiveConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.text_features import TextFeatures
from soundloom.training.objectives.transformer import Transformer

MAX_SCORES = 1024  # of mismatched pairs in a step, which limits the rolls of large batches
MARGIN, MAX_MARGIN = 0.5, 10.0
GAIN, STEP_DROPOUT, AUDIO_DROPOUT = 0.2, 0.4, 0.35
LATENT_DROPOUT, LATENT_NOISE = 0.1, 1e-2
Tokens = tuple[Tensor, Tensor]  # (b, _, d) and their mask (b, _)


class ContrastiveCritic(nn.Module):
    """The critic; without `text` it compares only audio and latents."""

    def __init__(self, config: ContrastiveConfig, latent_dim: int, text: TextFeatures | None = None) -> None:
        super().__init__()
        self.config, self.text = config, text
        self.from_audio = nn.Linear(2 * config.patch, config.width)
        self.from_latents = nn.Linear(latent_dim, config.width)
        if text is not None:
            self.from_text = nn.Linear(text.width, config.width)
        self.token = nn.Parameter(torch.randn(config.width))
        self.transformer = Transformer(config.width, config.depth)
        self.score = weight_norm(nn.Linear(config.width, 1))

    def forward(self, latents: Tensor, audio: Tensor, stream: RngStream, caption: Tokens | None = None) -> Tensor:
        """Return the loss of matching pairs against mismatched ones.

        latents (b, c, t), audio (b, 2, samples); caption is ids and mask (b, s) if the critic has `text`.
        """
        sound, latent = self._audio_tokens(audio, stream), self._latent_tokens(latents, stream)
        text = None if caption is None else self._text_tokens(caption)
        matched = self._scores(sound, text, latent)
        mismatched = [
            self._scores(_rolled(sound, by_audio), text and _rolled(text, by_text), latent)
            for by_audio, by_text in pairings(rolls(len(latents), self.config.max_rolls), text is not None)
        ]
        return torch.stack([margin_loss(matched, scores) for scores in mismatched]).mean()

    def _scores(self, sound: Tokens, text: Tokens | None, latent: Tokens) -> Tensor:
        """Score each item (b,)."""
        b = len(latent[0])
        last = self.token.expand(b, 1, -1), latent[1].new_ones(b, 1)
        parts = [part for part in (sound, text, latent, last) if part is not None]
        h = self.transformer(*(torch.cat(kind, dim=1) for kind in zip(*parts, strict=True)))
        return self.score(F.normalize(h[:, -1], dim=-1))[:, 0]

    def _audio_tokens(self, audio: Tensor, stream: RngStream) -> Tokens:
        patches = to_patches(audio, self.config.patch).transpose(1, 2)
        if self.training:
            patches = patches * (1 + GAIN * stream.uniform(len(patches), 1, 1))
            patches = dropout(patches, STEP_DROPOUT, stream.uniform(*patches.shape[:2], 1))
            patches = dropout(patches, AUDIO_DROPOUT, stream.uniform(*patches.shape))
        return _unmasked(self.from_audio(patches))

    def _latent_tokens(self, latents: Tensor, stream: RngStream) -> Tokens:
        latents = latents.transpose(1, 2)
        if self.training:
            latents = dropout(latents, LATENT_DROPOUT, stream.uniform(*latents.shape))
            latents = latents + LATENT_NOISE * stream.normal(*latents.shape)
        return _unmasked(self.from_latents(latents))

    def _text_tokens(self, caption: Tokens) -> Tokens:
        assert self.text is not None, "a caption was given to a critic without text"
        ids, mask = caption
        return self.from_text(self.text(ids, mask)), mask


def rolls(batch: int, most: int) -> int:
    """Number of rolls of a batch, limited by MAX_SCORES; 0 for a batch of one."""
    return min(max(1, MAX_SCORES // (3 * batch)), most, batch - 1)


def pairings(count: int, with_text: bool) -> list[tuple[int, int]]:
    """Return the shifts of audio and text against the latents."""
    steps = range(1, count + 1)
    if not with_text:
        return [(i, 0) for i in steps]
    return [pair for i in steps for pair in ((i, 0), (0, -i), (i, -i))]


def margin_loss(matched: Tensor, mismatched: Tensor) -> Tensor:
    """Softplus loss with a target margin between scores (b,); the margin is clamped to MAX_MARGIN."""
    return F.softplus(MARGIN - (matched - mismatched).clamp_max(MAX_MARGIN)).mean()


def dropout(x: Tensor, chance: float, uniform: Tensor) -> Tensor:
    """Zero elements whose `uniform` is below the chance, and rescale the others."""
    return x * (uniform >= chance) / (1 - chance)


def _rolled(tokens: Tokens, shift: int) -> Tokens:
    return tokens[0].roll(shift, 0), tokens[1].roll(shift, 0)


def _unmasked(tokens: Tensor) -> Tokens:
    return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
