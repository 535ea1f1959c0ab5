"""What the networks that were trained beside an autoencoder say of sounds that training never heard.

They are no part of a model; the work folder of the training keeps them.
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
from soundloom.datasets.synthetic import HeldOutPrompt, Labels
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.evaluation.editing import rendered
from soundloom.evaluation.report import Row, mean_row
from soundloom.pipeline.stable_audio.model import Model
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import AugmentationConfig, AutoencoderConfig, SpectralConfig
from soundloom.training.data.augmentation import Audio, random_piece
from soundloom.training.data.captions import CaptionTokens, vocabulary_size
from soundloom.training.init.pretrained import Base
from soundloom.training.loop.checkpoint import read_json_object, read_state
from soundloom.training.loop.loop import STATE_FILE, Draws
from soundloom.training.objectives.spectral.losses import SpectralLoss, softnorm_loss
from soundloom.training.objectives.text_features import FrozenText, LearntText, TextFeatures
from soundloom.training.recipe import Work
from soundloom.training.stages.autoencoder import AutoencoderStage

STAGE, BATCHES, SEED = "autoencoder", 8, 0


class HeldOutSounds:
    """The real sounds of prompts, as training takes sounds."""

    def __init__(self, prompts: Sequence[HeldOutPrompt], seconds: float) -> None:
        self.prompts = prompts
        self._clips = [rendered(prompt, seconds, number) for number, prompt in enumerate(prompts)]

    def __len__(self) -> int:
        return len(self.prompts)

    def captions(self, position: int) -> tuple[str, ...]:
        return (self.prompts[position].text,)

    def labels(self, position: int) -> Labels:
        return self.prompts[position].labels

    def clip(self, position: int) -> Clip:
        return self._clips[position]

    def audio(self, position: int) -> Audio:
        return self._clips[position].audio

    def draw(self, rng: np.random.Generator, length: int) -> tuple[int, Audio]:
        position = int(rng.integers(len(self)))
        return position, random_piece(self.audio(position), rng, length)


@torch.no_grad()
def loss_rows(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Row]:
    """Measure the spectral and SoftNorm losses of the autoencoder, at their default weights, on held-out sounds."""
    spectral, spectral_losses, norm_losses = SpectralLoss(SpectralConfig()), [], []
    for number, prompt in enumerate(prompts):
        clip = rendered(prompt, seconds, number)
        latents = model.encode(clip)
        pair = (model.decode(latents, samples=clip.samples).audio, clip.audio)
        spectral_losses.append(float(spectral(*(torch.from_numpy(audio)[None] for audio in pair))))
        norm_losses.append(float(softnorm_loss(torch.from_numpy(latents)[None])))
    return [
        mean_row("autoencoder: spectral loss", spectral_losses, ""),
        mean_row("autoencoder: SoftNorm loss", norm_losses, ""),
    ]


@torch.no_grad()
def companion_rows(work: Work, prompts: Sequence[HeldOutPrompt], seconds: float) -> list[Row]:
    """Every loss of the autoencoder's training, with averaged weights, on crops of held-out sounds.

    Those of discriminators are there once they have started. Raises TrainingError where nothing was trained.
    """
    stage, step = _trained(work, HeldOutSounds(prompts, seconds))
    losses = defaultdict(list)
    for batch in range(BATCHES):
        for name, value in stage.losses(step, Draws(SEED, batch)).items():
            losses[name].append(float(value))
    return [mean_row(f"autoencoder's training: {name}", values, "") for name, values in losses.items()]


def _trained(work: Work, sounds: HeldOutSounds) -> tuple[AutoencoderStage, int]:
    """The stage as training left it, and the first step from there that is the autoencoder's own."""
    state = read_state(work.require(work.stage(STAGE) / STATE_FILE, STAGE))
    config = replace(parse(AutoencoderConfig, work.settings(STAGE)), augmentation=AugmentationConfig())
    model = parse_model_config(read_json_object(work.folder / "model.json") or {})
    assert isinstance(model, ModelConfig)
    captions, text = _reader(work, sounds, model, config) if config.contrastive.weight else (None, None)
    stage = AutoencoderStage(SAME(model.same), sounds, config, captions, text)
    stage.module.load_state_dict(state["module"] | state["average"])
    stage.companions.load_state_dict(state["companions"])
    stage.module.eval()
    stage.companions.eval()
    step = state["step"]
    return stage, step if stage.turn(step) is stage.turns[0] else step + 1


def _reader(
    work: Work, sounds: HeldOutSounds, model: ModelConfig, config: AutoencoderConfig
) -> tuple[CaptionTokens, TextFeatures]:
    """Captions for the critic, and what reads them."""
    base = Base(open_checkpoint(work.base["model"])) if work.base else None
    tokenizer = base.tokenizer if base else work.require(work.tokenizer, "tokenizer").read_bytes()
    captions = CaptionTokens(sounds, Tokenizer(tokenizer), model.model.conditioning.prompt.max_length)
    if base:
        return captions, FrozenText(base.text())
    return captions, LearntText(vocabulary_size(tokenizer), config.contrastive.width)
