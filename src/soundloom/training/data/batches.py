"""Batches of encoded, captioned clips, as the stages of the generator sample them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import ConfigError, TrainingError
from soundloom.training.config import CurriculumConfig, DiTTrainingConfig
from soundloom.training.data.captions import CaptionTokens
from soundloom.training.data.inpaint_masks import sample_mask
from soundloom.training.data.latents import Latents
from soundloom.training.loop.rng import RngStream

LENGTH_GROUPS = 6  # a batch holds clips of one group, of similar lengths, so that it has little padding


@dataclass(frozen=True)
class TrainingBatch:
    """The clips of one step. ids and mask (b, s), seconds (b,), data (b, c, t), inpaint_mask and valid (b, t)."""

    ids: Tensor
    mask: Tensor
    seconds: Tensor
    data: Tensor
    inpaint_mask: Tensor  # 1 where the clip is given, 0 where it is to be generated
    valid: Tensor  # bool; the rest is padding

    @property
    def local(self) -> Tensor:
        """Local conditioning: the mask and the masked latents, (b, 1 + c, t)."""
        mask = self.inpaint_mask[:, None]
        return torch.cat([mask, self.data * mask], dim=1)

    def map(self, function: Callable[[Tensor], Tensor]) -> TrainingBatch:
        """Return the batch with `function` applied to every tensor."""
        return TrainingBatch(**{name: function(value) for name, value in vars(self).items()})


class EncodedClips:
    """Sample batches of latents with captions. Raises TrainingError where the two differ in number."""

    def __init__(
        self, latents: Latents, captions: CaptionTokens, config: DiTTrainingConfig, frames_per_second: float
    ) -> None:
        self.latents, self.captions, self.config = latents, captions, config
        self.frames_per_second = frames_per_second
        if len(latents.lengths) != len(captions.ids):
            found = f"{len(latents.lengths)} clips are encoded, but captions exist for {len(captions.ids)}"
            raise TrainingError(found, "run soundloom train encode again")
        self.longest = int(latents.lengths.max() + config.silence_seconds * frames_per_second)
        self.groups = self._by_length(config.families)
        self.curriculum = {phase.families: self._by_length(phase.families) for phase in config.curriculum}

    def _by_length(self, families: tuple[str, ...]) -> list[NDArray[np.intp]]:
        """Group the clips of some families, or of all, by length. Raises ConfigError where there are none."""
        clips = np.argsort(self.latents.lengths, kind="stable")
        if families:
            clips = clips[np.isin(self.captions.families[clips], families)]
        if not len(clips):
            known = ", ".join(sorted(set(self.captions.families) - {""})) or "none"
            raise ConfigError(f"no encoded sound is of these families: {', '.join(families)}", f"found: {known}")
        return np.array_split(clips, min(LENGTH_GROUPS, len(clips)))

    def sample(
        self, size: int, stream: RngStream, most: int | None = None, phase: CurriculumConfig | None = None
    ) -> TrainingBatch:
        """Sample clips of similar length, each with one caption, trailing silence and an inpainting mask.

        `most` crops each clip to its first latents; a `phase` of the curriculum restricts the families.
        """
        rng = stream.rng
        groups = self.curriculum[phase.families] if phase else self.groups
        clips = rng.choice(groups[rng.integers(len(groups))], size)
        lengths = self.latents.lengths[clips]
        silence = self.config.silence_seconds * self.frames_per_second
        frames = min(int(lengths.max() + silence), most or self.longest)
        valid = np.minimum(lengths + rng.exponential(silence, size).astype(int), frames)
        inpaint_mask = np.stack([sample_mask(rng, self.config.mask_probabilities, int(n), frames) for n in valid])
        ids, mask = self.captions.sample(clips, rng)
        data = np.stack([self.latents.padded(clip, frames) for clip in clips])
        return TrainingBatch(
            ids=stream.tensor(ids),
            mask=stream.tensor(mask),
            seconds=stream.tensor(self.latents.seconds[clips]),
            data=stream.tensor(data),
            inpaint_mask=stream.tensor(inpaint_mask),
            valid=stream.tensor(np.arange(frames) < valid[:, None]),
        )


def frames_per_second(model: ModelConfig) -> float:
    """Return the latent frame rate of a model."""
    return model.sample_rate / model.same.downsampling_ratio
