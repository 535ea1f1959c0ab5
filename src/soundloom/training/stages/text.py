"""Pre-train the text encoder to predict statistics of a clip's latents from its caption.

Each caption token predicts all statistics through one linear head that is discarded after training. A transformer that
has not yet learned where to attend then finds what a caption asks for in any token. A step is cheap because nothing is
generated, so captions are seen thousands of times, where flow matching would show them tens of times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.training.config import TextTrainingConfig
from soundloom.training.data.batches import EncodedClips
from soundloom.training.data.latents import Latents
from soundloom.training.init.generator import initialize_text
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import TrainingTask
from soundloom.training.stages.context import StableAudioContext
from soundloom.training.stages.dit import POWER_FLOOR, item_means
from soundloom.training.stages.run import run_stage

FRAME_GAIN = 0.5  # of single frames, relative to statistics of entire clips
POWER_EXPONENT = 0.25  # of a clip's power, by which its statistics are divided to separate quiet clips too
MIN_STD = 1e-3


def run(context: StableAudioContext, config: TextTrainingConfig) -> bool:
    """Train the text encoder on captions and latents."""

    def build(fresh: bool) -> tuple[TrainingTask, None]:
        encoder = T5GemmaEncoder(context.text_config)
        initialize_text(encoder)
        return TextTask(encoder, context.clips(), config), None

    def finish(state: dict[str, Tensor]) -> None:
        weights = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        context.run_dir.save_weights("text", weights)

    return run_stage(context, "text", config, build, finish)


class TextTask:
    """Regress the statistics of clips from every token of their captions."""

    def __init__(self, encoder: T5GemmaEncoder, clips: EncodedClips, config: TextTrainingConfig) -> None:
        self.config, self.captions = config, clips.captions
        self.statistics = latent_statistics(clips.latents, config)
        self.clips = np.concatenate(clips.groups)
        head = nn.Linear(encoder.config.hidden_size, self.statistics.shape[1])
        nn.init.zeros_(head.weight)
        self.module = nn.ModuleDict({"encoder": encoder, "head": head})

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Return the mean squared error over valid tokens; a constant prediction costs 1."""
        clips = stream.rng.choice(self.clips, self.config.batch_size)
        ids, mask = self.captions.sample(clips, stream.rng)
        longest = int(mask.sum(1).max())
        ids, mask = ids[:, :longest], mask[:, :longest]
        valid = stream.tensor(mask)
        predicted = self.module["head"](self.module["encoder"](stream.tensor(ids), valid))
        error = (predicted - stream.tensor(self.statistics[clips])[:, None]).square().mean(2)
        return {"loss": item_means(error, valid).mean()}


def latent_statistics(latents: Latents, config: TextTrainingConfig) -> NDArray[np.float32]:
    """Return the leading principal components (clips, components), partly whitened, with unit mean square."""
    values = np.stack([_statistics(latents, clip, config) for clip in range(len(latents))]).astype(np.float64)
    values -= values.mean(0)
    _, directions = np.linalg.eigh(values.T @ values)
    leading = values @ directions[:, ::-1][:, : config.components]
    leading /= np.sqrt(leading.std(0) + MIN_STD)
    return (leading / np.sqrt(np.mean(leading**2) + MIN_STD)).astype(np.float32)


def _statistics(latents: Latents, clip: int, config: TextTrainingConfig) -> NDArray[np.float32]:
    """Return some of a clip's first latents, mean and RMS of each channel, and the level of the first latents."""
    length = int(latents.lengths[clip])
    padded = latents.padded(clip, max(length, config.levels, *(frame + 1 for frame in config.frames)))  # (c, t)
    valid = padded[:, :length]
    channels = [*padded[:, list(config.frames)].T * FRAME_GAIN, valid.mean(1), np.sqrt(np.mean(valid**2, 1))]
    gain = (float(np.mean(valid**2)) + POWER_FLOOR) ** -POWER_EXPONENT
    levels = np.sqrt(np.mean(padded[:, : config.levels] ** 2, 0))
    levels = (levels - levels.mean()) / (levels.std() + MIN_STD)
    return np.concatenate([*(each * gain for each in channels), levels])
