"""Contrastive alignment: a critic scores how well a sound, a caption and latents go together.

It reads [audio ‖ text ‖ latents ‖ critic token]. The autoencoder helps it: both minimize the same loss.
Letters: b batch, n audio tokens, s text tokens, t latents, d width. Source: SAME, as described for its training code,
whose wavelet packet of the audio is an orthogonal map of patches, which the projection of plain patches makes needless.
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

MOST_SCORES = 1024  # of wrong pairings in a step, which bounds the rolls of large batches
MARGIN, MAX_MARGIN = 0.5, 10.0
GAIN, STEP_DROPOUT, AUDIO_DROPOUT = 0.2, 0.4, 0.35
LATENT_DROPOUT, LATENT_NOISE = 0.1, 1e-2
Tokens = tuple[Tensor, Tensor]  # (b, _, d), and which of them are real (b, _)


class ContrastiveCritic(nn.Module):
    """The critic; without `text` it knows sounds and latents alone."""

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
        """How far right pairings lie before wrong ones, as a loss.

        latents (b, c, t), audio (b, 2, samples), caption: ids and mask (b, s), given where the critic has `text`.
        """
        sound, codes = self._audio_tokens(audio, stream), self._latent_tokens(latents, stream)
        words = None if caption is None else self._text_tokens(caption)
        right = self._scores(sound, words, codes)
        wrong = [
            self._scores(_rolled(sound, by_audio), words and _rolled(words, by_text), codes)
            for by_audio, by_text in pairings(rolls(len(latents), self.config.max_rolls), words is not None)
        ]
        return torch.stack([contrast(right, scores) for scores in wrong]).mean()

    def _scores(self, sound: Tokens, words: Tokens | None, codes: Tokens) -> Tensor:
        """One score for each item (b,)."""
        b = len(codes[0])
        last = self.token.expand(b, 1, -1), codes[1].new_ones(b, 1)
        parts = [part for part in (sound, words, codes, last) if part is not None]
        h = self.transformer(*(torch.cat(kind, dim=1) for kind in zip(*parts, strict=True)))
        return self.score(F.normalize(h[:, -1], dim=-1))[:, 0]

    def _audio_tokens(self, audio: Tensor, stream: RngStream) -> Tokens:
        patches = to_patches(audio, self.config.patch).transpose(1, 2)
        if self.training:
            patches = patches * (1 + GAIN * stream.uniform(len(patches), 1, 1))
            patches = dropped(patches, STEP_DROPOUT, stream.uniform(*patches.shape[:2], 1))
            patches = dropped(patches, AUDIO_DROPOUT, stream.uniform(*patches.shape))
        return _all_real(self.from_audio(patches))

    def _latent_tokens(self, latents: Tensor, stream: RngStream) -> Tokens:
        latents = latents.transpose(1, 2)
        if self.training:
            latents = dropped(latents, LATENT_DROPOUT, stream.uniform(*latents.shape))
            latents = latents + LATENT_NOISE * stream.normal(*latents.shape)
        return _all_real(self.from_latents(latents))

    def _text_tokens(self, caption: Tokens) -> Tokens:
        assert self.text is not None, "a caption was given to a critic without text"
        ids, mask = caption
        return self.from_text(self.text(ids, mask)), mask


def rolls(batch: int, most: int) -> int:
    """How many places a batch is rolled by: all, unless there are too many scores; none for a batch of one."""
    return min(max(1, MOST_SCORES // (3 * batch)), most, batch - 1)


def pairings(count: int, with_text: bool) -> list[tuple[int, int]]:
    """By how many places audio and text are rolled against the latents."""
    steps = range(1, count + 1)
    if not with_text:
        return [(i, 0) for i in steps]
    return [pair for i in steps for pair in ((i, 0), (0, -i), (i, -i))]


def contrast(right: Tensor, wrong: Tensor) -> Tensor:
    """Mean softplus of the margin less the lead (b,); leads beyond the largest count no more."""
    return F.softplus(MARGIN - (right - wrong).clamp_max(MAX_MARGIN)).mean()


def dropped(x: Tensor, chance: float, uniform: Tensor) -> Tensor:
    """Zero what was drawn below the chance, and scale the rest so that the mean stays."""
    return x * (uniform >= chance) / (1 - chance)


def _rolled(tokens: Tokens, places: int) -> Tokens:
    return tokens[0].roll(places, 0), tokens[1].roll(places, 0)


def _all_real(tokens: Tensor) -> Tokens:
    return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
