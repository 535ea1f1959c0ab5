"""What the stages of a model work with, and what they hand on to each other through the work folder."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
from soundloom.training.data.captions import CaptionList, CaptionTokens, vocabulary_size
from soundloom.training.data.latents import Latents, load_latents, load_seconds, read_latents, read_seconds
from soundloom.training.data.protocols import CaptionedClips, SoundSource
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init.generator import Generator
from soundloom.training.init.pretrained import PretrainedModel
from soundloom.training.loop.checkpoint import load_weights, named_damage
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.logging import Callback
from soundloom.training.recipe import Recipe, RunDirectory

FLOW_SOUNDS = "flow_sounds"  # the recipe's file of what the generator learns


@dataclass(frozen=True, kw_only=True)
class StageContext(ABC):
    """What every stage works with: the recipe, the work folder, the machine.

    `anew` throws away what the stage has done, once all is known that could speak against it. `until` asks for an end
    between two steps; `observe` makes those who are told how the stage NAME goes.
    """

    recipe: Recipe
    run_dir: RunDirectory
    distributed: Distributed
    anew: bool = False
    until: Callable[[], bool] = lambda: False
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: ()

    @property
    @abstractmethod
    def model(self) -> ModelConfig | MusicGenConfig:
        """The model's configuration."""


@dataclass(frozen=True, kw_only=True)
class StableAudioContext(StageContext):
    """What the stages of Stable Audio work with, perhaps from the model `base` on."""

    pretrained: PretrainedModel | None = None

    @cached_property
    def model(self) -> ModelConfig:
        """The model's configuration. Raises ConfigError for a sample rate that training is not made for."""
        config = self.pretrained.config if self.pretrained else self.recipe.model
        if config.sample_rate != SAMPLE_RATE:
            raise ConfigError(f"training is for models of {SAMPLE_RATE} Hz, and this one has {config.sample_rate} Hz")
        require_memory(shape_bytes(model_shapes(config)), "the model to train")
        return config

    @cached_property
    def data(self) -> DataConfig | None:
        """Where sounds come from, unless it is the synthetic world."""
        return self.recipe.read(DataConfig, "data") if self.recipe.has("data") else None

    @cached_property
    def dataset(self) -> Dataset:
        """The sounds or latents that `data` names."""
        assert self.data is not None
        return open_dataset(self.recipe.folder / expanded(self.data.path), self.data.source)

    @cached_property
    def holds_latents(self) -> bool:
        """Whether the dataset is encoded already."""
        for entry in self.dataset.entries():
            try:
                return entry.read().latents is not None
            except SoundloomError:
                continue  # whoever wants this entry reports it
        return False

    def sounds(self, clips: int | None = None) -> SoundSource:
        """What the tokenizer and the autoencoder learn from: the first `clips` if given."""
        if self.data:
            most = clips or self.data.clips or None
            return AudioDataset(self.dataset, self.data.selection, self.model.sample_rate, most)
        config = self.sound_settings
        assert isinstance(config, SoundsConfig)
        return SyntheticSounds(replace(config, clips=clips) if clips else config)

    @property
    def sound_settings(self) -> DataConfig | SoundsConfig:
        """Where the sounds of tokenizer and autoencoder come from."""
        return self.data or self.recipe.read(SoundsConfig, "sounds")

    @cached_property
    def flow_sounds(self) -> SyntheticSounds | None:
        """What the generator learns from, where that is the synthetic world."""
        return None if self.data else SyntheticSounds(self.recipe.read(SoundsConfig, FLOW_SOUNDS))

    @cached_property
    def tokenizer(self) -> bytes:
        """The SentencePiece model."""
        if self.pretrained:
            return self.pretrained.tokenizer
        path = self.run_dir.require(self.run_dir.tokenizer, "tokenizer")
        with named_damage(path, "it is damaged; soundloom train tokenizer --restart learns it anew"):
            model = path.read_bytes()
            if not model or not vocabulary_size(model):
                raise ValueError("it is no SentencePiece model")
        return model

    @cached_property
    def text_config(self) -> T5GemmaConfig:
        """The text encoder of the recipe, with the vocabulary that the tokenizer came to."""
        if self.pretrained:
            return self.pretrained.text_encoder
        config = replace(self.recipe.text_encoder, vocab_size=vocabulary_size(self.tokenizer))
        require_memory(shape_bytes(t5gemma_shapes(config)), "the text encoder to train")
        return config

    def same(self) -> SAME:
        """The autoencoder that this job trained, else the base's. Raises TrainingError."""
        if self.pretrained and not self.run_dir.trained("autoencoder").is_file():
            return self.pretrained.same().eval()
        same = SAME(self.model.same)
        load_weights(same, self.run_dir.read_trained("autoencoder"), self.run_dir.trained("autoencoder"))
        return same.eval()

    def generator(self, *stages: str) -> Generator:
        """The generator as the first of these stages that the recipe has left it, else the base's.

        Raises TrainingError where that stage is not finished.
        """
        trained = next((stage for stage in stages if self.recipe.has(stage)), stages[-1])
        generator = Generator(self.model, self.text_config)
        if self.pretrained and not self.run_dir.trained(trained).is_file():
            self.pretrained.fill(generator)
        else:
            load_weights(generator, self.run_dir.read_trained(trained), self.run_dir.trained(trained))
        return generator.to(self.distributed.device)

    def clips(self) -> EncodedClips:
        """Encoded clips with their captions, as the stages of the generator draw them."""
        config = self.recipe.read(DiTTrainingConfig, "dit")
        if self.flow_sounds is not None:
            latents = read_latents(self.run_dir.require(self.run_dir.latents, "encode"), self.model.same.latent_dim)
            return EncodedClips(latents, self.caption_tokens(self.flow_sounds), config, frames_per_second(self.model))
        latents, words = self._stored()
        return EncodedClips(latents, self.caption_tokens(words), config, frames_per_second(self.model))

    def seconds(self) -> NDArray[np.float32]:
        """The lengths of these clips, read without their captions. Raises a SoundloomError where they are gone."""
        if self.flow_sounds is not None:
            return read_seconds(self.run_dir.require(self.run_dir.latents, "encode"))
        assert self.data is not None
        _, dataset = self._encoded()
        return load_seconds(dataset, self.data.selection, frames_per_second(self.model), self._longest)

    @property
    def _longest(self) -> int:
        """Frames of the longest clip that the model holds."""
        return self.model.sample_size // self.model.same.downsampling_ratio

    def _encoded(self) -> tuple[Dataset, Dataset]:
        """The dataset that holds latents, and of it what is learnt from."""
        if self.holds_latents:
            return self.dataset, self.dataset
        encoded = self.run_dir.encoded_dataset
        self.run_dir.require(encoded / SILENCE, "encode")
        return LatentFolder(encoded), EncodedSounds(LatentFolder(encoded), self.dataset)

    def _stored(self) -> tuple[Latents, CaptionList]:
        """Latents of the dataset, or those that it was encoded to."""
        assert self.data is not None
        kept, dataset = self._encoded()
        silence = kept.silence() if isinstance(kept, LatentFolder | Shards) else None
        if silence is None:
            silence = encoded_silence(self.codec())
        channels, rate = self.model.same.latent_dim, frames_per_second(self.model)
        return load_latents(dataset, self.data.selection, channels, rate, self._longest, silence)

    def codec(self) -> Codec:
        """The encoder as datasets use it."""
        same, device, rate = self.same().to(self.distributed.device), self.distributed.device, self.model.sample_rate

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

    def scale_sounds(self, clips: int) -> SoundSource:
        """Return readable sounds to measure the scale of the latents on."""
        if self.flow_sounds is not None:
            return self.flow_sounds
        sounds = self.sounds(clips)
        return sounds.drop_unusable() if isinstance(sounds, AudioDataset) else sounds

    def caption_tokens(self, sounds: CaptionedClips) -> CaptionTokens:
        """Captions of sounds, at the length that the model reads."""
        return CaptionTokens(sounds, Tokenizer(self.tokenizer), self.model.model.conditioning.prompt.max_length)


def _fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
