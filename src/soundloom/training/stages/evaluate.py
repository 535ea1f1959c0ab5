"""Measure the training losses of an autoencoder on held-out sounds.

The losses need networks that are not part of a model, only of the run directory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from soundloom.audio.clip import Clip
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ModelConfig, parse_model_config
from soundloom.datasets.synthetic import HeldOutPrompt
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.evaluation.metrics import Metric, mean_metric
from soundloom.evaluation.synthetic.editing import reference_clip
from soundloom.pipeline.stable_audio.model import Model
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import AugmentationConfig, AutoencoderConfig, SpectralConfig
from soundloom.training.data.augmentation import random_crop
from soundloom.training.data.captions import CaptionList, CaptionTokens, vocabulary_size
from soundloom.training.data.protocols import Audio
from soundloom.training.init.pretrained import PretrainedModel
from soundloom.training.loop.checkpoint import STATE_FILE, read_json_object, read_state
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.spectral.losses import SpectralLoss, softnorm_loss
from soundloom.training.objectives.text_features import FrozenTextEncoder, TextEmbedding, TextFeatures
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.autoencoder import AutoencoderTask

STAGE, BATCHES, SEED = "autoencoder", 8, 0


class HeldOutSounds(CaptionList):
    """The reference clips of prompts, as a source of sounds for training."""

    def __init__(self, prompts: Sequence[HeldOutPrompt], seconds: float) -> None:
        super().__init__([prompt.text] for prompt in prompts)
        self._clips = [reference_clip(prompt, seconds, number) for number, prompt in enumerate(prompts)]

    def clip(self, position: int) -> Clip:
        return self._clips[position]

    def audio(self, position: int) -> Audio:
        return self._clips[position].audio

    def sample_crop(self, rng: np.random.Generator, length: int) -> tuple[int, Audio]:
        position = int(rng.integers(len(self)))
        return position, random_crop(self.audio(position), rng, length)


@torch.no_grad()
def loss_metrics(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Metric]:
    """Measure the spectral and SoftNorm losses of a model's autoencoder, with default settings."""
    spectral, spectral_losses, norm_losses = SpectralLoss(SpectralConfig()), [], []
    for number, prompt in enumerate(prompts):
        clip = reference_clip(prompt, seconds, number)
        latents = model.encode(clip)
        pair = (model.decode(latents, samples=clip.samples).audio, clip.audio)
        spectral_losses.append(float(spectral(*(torch.from_numpy(audio)[None] for audio in pair))))
        norm_losses.append(float(softnorm_loss(torch.from_numpy(latents)[None])))
    return [
        mean_metric("autoencoder: spectral loss", spectral_losses, ""),
        mean_metric("autoencoder: SoftNorm loss", norm_losses, ""),
    ]


@torch.no_grad()
def auxiliary_metrics(run_dir: RunDirectory, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Metric]:
    """Measure every loss of the autoencoder's training with EMA weights.

    Discriminator losses are included once the discriminators have started. Raises TrainingError where nothing was
    trained.
    """
    task, step = _trained(run_dir, HeldOutSounds(prompts, seconds))
    losses = defaultdict(list)
    for batch in range(BATCHES):
        for name, value in task.losses(step, RngStream(SEED, batch)).items():
            losses[name].append(float(value))
    return [mean_metric(f"autoencoder's training: {name}", values, "") for name, values in losses.items()]


def _trained(run_dir: RunDirectory, sounds: HeldOutSounds) -> tuple[AutoencoderTask, int]:
    """Restore the task, and return it with the next step of the autoencoder's own phase."""
    state = read_state(run_dir.require(run_dir.stage_folder(STAGE) / STATE_FILE, STAGE))
    config = replace(parse(AutoencoderConfig, run_dir.settings(STAGE)), augmentation=AugmentationConfig())
    model = parse_model_config(read_json_object(run_dir.folder / "model.json") or {})
    assert isinstance(model, ModelConfig)
    captions, text = _captions(run_dir, sounds, model, config) if config.contrastive.weight else (None, None)
    task = AutoencoderTask(SAME(model.same), sounds, config, captions, text)
    task.module.load_state_dict(state["module"] | state["ema"])
    task.auxiliary.load_state_dict(state["auxiliary"])
    task.module.eval()
    task.auxiliary.eval()
    step = state["step"]
    return task, step if task.phase(step) is task.phases[0] else step + 1


def _captions(
    run_dir: RunDirectory, sounds: HeldOutSounds, model: ModelConfig, config: AutoencoderConfig
) -> tuple[CaptionTokens, TextFeatures]:
    """Return captions for the critic, and the module that embeds them."""
    pretrained = PretrainedModel(open_checkpoint(run_dir.pretrained["model"])) if run_dir.pretrained else None
    tokenizer = pretrained.tokenizer if pretrained else run_dir.require(run_dir.tokenizer, "tokenizer").read_bytes()
    captions = CaptionTokens(sounds, Tokenizer(tokenizer), model.model.conditioning.prompt.max_length)
    if pretrained:
        return captions, FrozenTextEncoder(pretrained.text())
    return captions, TextEmbedding(vocabulary_size(tokenizer), config.contrastive.width)
