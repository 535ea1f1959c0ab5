"""What the stages of a model work with, and what they hand on to each other through the work folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from soundloom.config.models import ModelConfig, T5GemmaConfig
from soundloom.engines.torch.same import SAME
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.base import Base
from soundloom.training.captions import CaptionTokens, vocabulary_size
from soundloom.training.config import DiTTrainingConfig, SoundsConfig
from soundloom.training.dit import Clips, Generator, frames_per_second
from soundloom.training.latents import read_latents
from soundloom.training.machine import Machine
from soundloom.training.observers import Observer
from soundloom.training.recipe import Recipe, Work
from soundloom.training.sounds import Sounds


@dataclass(frozen=True)
class Job:
    """What a stage works with: the recipe, the work folder, the machine, perhaps a model to begin from.

    `until` asks for an end between two steps; `observe` makes those who are told how the stage NAME goes.
    """

    recipe: Recipe
    work: Work
    machine: Machine
    base: Base | None = None
    until: Callable[[], bool] = lambda: False
    observe: Callable[[str], Sequence[Observer]] = lambda name: ()

    @cached_property
    def model(self) -> ModelConfig:
        """The model's configuration."""
        return self.base.config if self.base else self.recipe.model

    @cached_property
    def sounds(self) -> Sounds:
        """What the tokenizer and the autoencoder learn from."""
        return Sounds(self.recipe.read(SoundsConfig, "sounds"))

    @cached_property
    def flow_sounds(self) -> Sounds:
        """What the generator learns from."""
        return Sounds(self.recipe.read(SoundsConfig, "flow_sounds"))

    @cached_property
    def tokenizer(self) -> bytes:
        """The SentencePiece model."""
        if self.base:
            return self.base.tokenizer
        return self.work.require(self.work.tokenizer, "tokenizer").read_bytes()

    @cached_property
    def text_config(self) -> T5GemmaConfig:
        """The text encoder of the recipe, with the vocabulary that the tokenizer came to."""
        if self.base:
            return self.base.text_encoder
        return replace(self.recipe.text_encoder, vocab_size=vocabulary_size(self.tokenizer))

    def same(self) -> SAME:
        """The autoencoder that this job trained, else the base's. Raises TrainingError."""
        if self.base and not self.work.trained("autoencoder").is_file():
            return self.base.same().eval()
        same = SAME(self.model.same)
        same.load_state_dict(self.work.read_trained("autoencoder"))
        return same.eval()

    def generator(self, *stages: str) -> Generator:
        """The generator as the first of these stages left it, else the base's. Raises TrainingError."""
        trained = next((stage for stage in stages if self.work.trained(stage).is_file()), stages[-1])
        generator = Generator(self.model, self.text_config)
        if self.base and not self.work.trained(trained).is_file():
            self.base.fill(generator)
        else:
            generator.load_state_dict(self.work.read_trained(trained))
        return generator.to(self.machine.device)

    def clips(self) -> Clips:
        """Encoded clips with their captions, as the stages of the generator draw them."""
        config = self.recipe.read(DiTTrainingConfig, "dit")
        latents = read_latents(self.work.require(self.work.latents, "encode"))
        return Clips(latents, self.caption_tokens(self.flow_sounds), config, frames_per_second(self.model))

    def caption_tokens(self, sounds: Sounds) -> CaptionTokens:
        """Captions of sounds, at the length that the model reads."""
        return CaptionTokens(sounds, Tokenizer(self.tokenizer), self.model.model.conditioning.prompt.max_length)
