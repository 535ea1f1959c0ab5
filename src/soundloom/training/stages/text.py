"""Training of the text encoder before the generator: from a caption it tells what the latents of its clip are like.

Each token is to tell all of it, through one linear head that is thrown away. A transformer that does not know yet
where to attend then finds in any token what the caption asks for. No sound is made, so that a step costs little, and
captions are heard thousands of times where the generator would hear them tens of times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.training.config import TextTrainingConfig
from soundloom.training.data.batches import EncodedClips
from soundloom.training.data.latents import Latents
from soundloom.training.loop.rng import RngStream
from soundloom.training.stages.dit import POWER_FLOOR

FRAME_GAIN = 0.5  # of single latents, beside what is said of all
LEVELING = 0.25  # power of a clip's power that it is divided by, so that quiet ones are told apart as well
SMALLEST = 1e-3  # deviation of what does not differ


class TextTask:
    """Regression of descriptions of clips, off every token of their captions."""

    def __init__(self, encoder: T5GemmaEncoder, clips: EncodedClips, config: TextTrainingConfig) -> None:
        self.config, self.captions = config, clips.captions
        self.descriptions = descriptions(clips.latents, config)
        self.clips = np.concatenate(clips.groups)
        head = nn.Linear(encoder.config.hidden_size, self.descriptions.shape[1])
        nn.init.zeros_(head.weight)
        self.module = nn.ModuleDict({"encoder": encoder, "head": head})

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Mean squared error over the real tokens; 1 is what a guess without reading costs."""
        clips = stream.rng.choice(self.clips, self.config.batch_size)
        ids, mask = self.captions.sample(clips, stream.rng)
        longest = int(mask.sum(1).max())
        ids, mask = ids[:, :longest], mask[:, :longest]
        real = stream.tensor(mask)
        told = self.module["head"](self.module["encoder"](stream.tensor(ids), real))
        error = (told - stream.tensor(self.descriptions[clips])[:, None]).square().mean(2)
        return {"loss": ((error * real).sum(1) / real.sum(1).clamp_min(1)).mean()}


def descriptions(latents: Latents, config: TextTrainingConfig) -> NDArray[np.float32]:
    """What all clips are like (clips, components), with unit mean square: leading components, partly whitened."""
    facts = np.stack([_facts(latents, clip, config) for clip in range(len(latents))]).astype(np.float64)
    facts -= facts.mean(0)
    _, directions = np.linalg.eigh(facts.T @ facts)
    leading = facts @ directions[:, ::-1][:, : config.components]
    leading /= np.sqrt(leading.std(0) + SMALLEST)
    return (leading / np.sqrt(np.mean(leading**2) + SMALLEST)).astype(np.float32)


def _facts(latents: Latents, clip: int, config: TextTrainingConfig) -> NDArray[np.float32]:
    """Some of its first latents, mean and root mean square of each channel; and the course of its level."""
    length = int(latents.lengths[clip])
    padded = latents.padded(clip, max(length, config.levels, *(frame + 1 for frame in config.frames)))  # (c, t)
    whole = padded[:, :length]
    channels = [*padded[:, list(config.frames)].T * FRAME_GAIN, whole.mean(1), np.sqrt(np.mean(whole**2, 1))]
    gain = (float(np.mean(whole**2)) + POWER_FLOOR) ** -LEVELING
    levels = np.sqrt(np.mean(padded[:, : config.levels] ** 2, 0))
    course = (levels - levels.mean()) / (levels.std() + SMALLEST)
    return np.concatenate([*(facts * gain for facts in channels), course])
