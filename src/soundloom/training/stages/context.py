"""What stages work with: recipe, run directory and processes, and what earlier stages have produced."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from soundloom.audio.blocks import SlidingReader
from soundloom.audio.clip import Clip
from soundloom.checkpoints.stable_audio.shapes import model_shapes, shape_bytes, t5gemma_shapes
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.datasets.encoding import EncodedSounds, encoded_silence
from soundloom.datasets.examples import Dataset
from soundloom.datasets.fidelity import Codec
from soundloom.datasets.latents import SILENCE, LatentFolder
from soundloom.datasets.opening import open_dataset
from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.datasets.synthetic.config import SoundsConfig
from soundloom.datasets.webdataset import Shards
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import ConfigError, SoundloomError
from soundloom.folders import expanded
from soundloom.memory import require_memory
from soundloom.pipeline.stable_audio.chunks import encode_chunks
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import DataConfig, DiTTrainingConfig
from soundloom.training.data.audio_dataset import AudioDataset
from soundloom.training.data.batches import EncodedClips, frames_per_second
from soundloom.training.data.captions import CaptionTokens, vocabulary_size
from soundloom.training.data.latents import load_latents, read_latents
from soundloom.training.data.protocols import CaptionedClips, SoundSource
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init.generator import Generator
from soundloom.training.init.pretrained import PretrainedModel
from soundloom.training.loop.checkpoint import load_weights, named_damage
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.logging import Callback
from soundloom.training.recipe import Recipe
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.registry import STAGES

DIT_SOUNDS = "dit_sounds"  # the recipe's file of sounds for the stages encode to post


@dataclass(frozen=True, kw_only=True)
class StageContext(ABC):
    """What every stage works with.

    `restart` discards the stage's progress once the stage can start. `until` is called between steps and stops
    training; `callbacks` returns those of a stage.
    """

    recipe: Recipe
    run_dir: RunDirectory
    distributed: Distributed
    restart: bool = False
    until: Callable[[], bool] = lambda: False
    callbacks: Callable[[str], Sequence[Callback]] = lambda stage: ()

    @property
    @abstractmethod
    def model(self) -> ModelConfig | MusicGenConfig:
        """The model's configuration."""

    def run(self, stage: str) -> bool:
        """Run a stage of the registry; return whether it is finished."""
        module, config = import_module(f"soundloom.training.stages.{stage}"), STAGES[stage].config
        arguments = () if config is None else (self.recipe.read(config, stage),)
        return bool(module.run(self, *arguments))


@dataclass(frozen=True, kw_only=True)
class StableAudioContext(StageContext):
    """What the stages of Stable Audio work with, from scratch or from a pretrained model."""

    pretrained: PretrainedModel | None = None

    @cached_property
    def model(self) -> ModelConfig:
        """The model's configuration. Raises ConfigError for a sample rate that training does not support."""
        config = self.pretrained.config if self.pretrained else self.recipe.model
        if config.sample_rate != SAMPLE_RATE:
            raise ConfigError(f"training is for models of {SAMPLE_RATE} Hz, and this one has {config.sample_rate} Hz")
        require_memory(shape_bytes(model_shapes(config)), "the model to train")
        return config

    # Sounds

    @cached_property
    def data(self) -> DataConfig | None:
        """The dataset of the recipe; None for synthetic sounds."""
        return self.recipe.read(DataConfig, "data") if self.recipe.has("data") else None

    @cached_property
    def dataset(self) -> Dataset:
        """The sounds or latents of `data`."""
        assert self.data is not None
        return open_dataset(self.recipe.folder / expanded(self.data.path), self.data.source)

    @cached_property
    def holds_latents(self) -> bool:
        """Whether the dataset is already encoded."""
        for entry in self.dataset.entries():
            try:
                return entry.read().latents is not None
            except SoundloomError:
                continue  # reported by whoever uses this entry
        return False

    @property
    def sound_settings(self) -> DataConfig | SoundsConfig:
        """The configuration of the sounds of tokenizer and autoencoder."""
        return self.data or self.recipe.read(SoundsConfig, "sounds")

    def sounds(self, clips: int | None = None) -> SoundSource:
        """Return the sounds of the tokenizer and the autoencoder: the first `clips` if given."""
        if self.data:
            most = clips or self.data.clips or None
            return AudioDataset(self.dataset, self.data.selection, self.model.sample_rate, most)
        config = self.sound_settings
        assert isinstance(config, SoundsConfig)
        return SyntheticSounds(replace(config, clips=clips) if clips else config)

    @cached_property
    def dit_sounds(self) -> SyntheticSounds | None:
        """The synthetic sounds of the stages encode to post, unless there is a dataset."""
        return None if self.data else SyntheticSounds(self.recipe.read(SoundsConfig, DIT_SOUNDS))

    def scale_sounds(self, clips: int) -> SoundSource:
        """Return readable sounds to measure the scale of latents on."""
        if self.dit_sounds is not None:
            return self.dit_sounds
        sounds = self.sounds(clips)
        return sounds.drop_unusable() if isinstance(sounds, AudioDataset) else sounds

    # Captions

    @cached_property
    def tokenizer(self) -> bytes:
        """The SentencePiece model."""
        if self.pretrained:
            return self.pretrained.tokenizer
        path = self.run_dir.require(self.run_dir.tokenizer, "tokenizer")
        with named_damage(path, "it is damaged; soundloom train tokenizer --restart replaces it"):
            model = path.read_bytes()
            if not model or not vocabulary_size(model):
                raise ValueError("it is not a SentencePiece model")
        return model

    @cached_property
    def text_config(self) -> T5GemmaConfig:
        """The text encoder's configuration, with the vocabulary size of the tokenizer."""
        if self.pretrained:
            return self.pretrained.text_encoder
        config = replace(self.recipe.text_encoder, vocab_size=vocabulary_size(self.tokenizer))
        require_memory(shape_bytes(t5gemma_shapes(config)), "the text encoder to train")
        return config

    def caption_tokens(self, sounds: CaptionedClips) -> CaptionTokens:
        """Tokenize the captions of sounds, at the model's maximum length."""
        return CaptionTokens(sounds, Tokenizer(self.tokenizer), self.model.model.conditioning.prompt.max_length)

    # Networks

    def autoencoder(self) -> SAME:
        """Return the autoencoder that this run trained, else the pretrained one. Raises TrainingError."""
        weights = self.run_dir.weights("autoencoder")
        if self.pretrained and not weights.is_file():
            return self.pretrained.same().eval()
        same = SAME(self.model.same)
        load_weights(same, self.run_dir.read_weights("autoencoder"), weights)
        return same.eval()

    def generator(self, stage: str) -> Generator:
        """Return the generator that a stage of this run trained, else the pretrained one. Raises TrainingError."""
        weights, generator = self.run_dir.weights(stage), Generator(self.model, self.text_config)
        if self.pretrained and not weights.is_file():
            self.pretrained.fill(generator)
        else:
            load_weights(generator, self.run_dir.read_weights(stage), weights)
        return generator.to(self.distributed.device)

    def starting_generator(self, stage: str) -> Generator:
        """Return the generator that a stage starts from. Raises TrainingError where that is not finished."""
        sources = STAGES[stage].starts_from
        return self.generator(next((source for source in sources if self.recipe.has(source)), sources[-1]))

    # Latents

    def clips(self) -> EncodedClips:
        """Return the encoded clips with their captions."""
        config, rate = self.recipe.read(DiTTrainingConfig, "dit"), frames_per_second(self.model)
        if self.dit_sounds is not None:
            latents = read_latents(self.run_dir.require(self.run_dir.latents, "encode"), self.model.same.latent_dim)
            return EncodedClips(latents, self.caption_tokens(self.dit_sounds), config, rate)
        assert self.data is not None
        stored, dataset = self._encoded()
        silence = stored.silence() if isinstance(stored, LatentFolder | Shards) else None
        if silence is None:
            silence = encoded_silence(self.codec())
        latents, captions = load_latents(
            dataset, self.data.selection, self.model.same.latent_dim, rate, self._max_frames, silence
        )
        return EncodedClips(latents, self.caption_tokens(captions), config, rate)

    @property
    def _max_frames(self) -> int:
        return self.model.sample_size // self.model.same.downsampling_ratio

    def _encoded(self) -> tuple[Dataset, Dataset]:
        """Return the dataset that holds latents, and the part of it to train on."""
        if self.holds_latents:
            return self.dataset, self.dataset
        encoded = self.run_dir.encoded_dataset
        self.run_dir.require(encoded / SILENCE, "encode")
        return LatentFolder(encoded), EncodedSounds(LatentFolder(encoded), self.dataset)

    def codec(self) -> Codec:
        """Return the autoencoder in the form that datasets use."""
        same, device = self.autoencoder().to(self.distributed.device), self.distributed.device
        rate = self.model.sample_rate

        @torch.no_grad()
        def encode_piece(audio: NDArray[np.float32]) -> NDArray[np.float32]:
            return same.encode(torch.from_numpy(audio).to(device)).cpu().numpy()

        def encode(clip: Clip) -> NDArray[np.float32]:
            sound = clip.stream().stereo().resampled(clip.sample_rate, rate)
            plan = encode_chunks(sound.samples, self.model.same, "exact")  # files may be longer than memory allows
            return plan.run(SlidingReader(sound), lambda piece: encode_piece(piece[None]))[0]

        @torch.no_grad()
        def decode(latents: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
            return same.decode(torch.from_numpy(latents)[None].to(device))[0, :, :samples].cpu().numpy()

        return Codec(encode, rate, self.model.same.downsampling_ratio, _fingerprint(same), decode)


def _fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
