"""Make `mini`, the model inside the package, from nothing but this package: `python -m soundloom.training.mini`.

Stages follow each other in a work folder, each leaving files that the next one reads, so that a run can be stopped at
any moment and taken up again: captions to a tokenizer, sounds to an autoencoder, sounds to latents, captions and
latents to a flow model, that to one that needs few steps, and everything to a model folder.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from soundloom.atomic import atomic_file
from soundloom.config.models import ModelConfig, T5GemmaConfig, parse_model_config
from soundloom.config.parse import parse
from soundloom.engines.torch.same import SAME
from soundloom.errors import ConfigError, SoundloomError
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.autoencoder import AutoencoderStage, fit_linear_codec, settle_scale, start_from
from soundloom.training.captions import CaptionTokens, train_tokenizer, vocabulary_size
from soundloom.training.config import (
    AutoencoderConfig,
    DistillationConfig,
    DiTTrainingConfig,
    LoopConfig,
    SoundsConfig,
    TokenizerConfig,
    read_table,
    read_toml,
)
from soundloom.training.distillation import DistillationStage
from soundloom.training.dit import Clips, FlowStage, Generator, frames_per_second, initialise
from soundloom.training.export import export
from soundloom.training.latents import encode_sounds, read_latents, write_latents
from soundloom.training.loop import STATE_FILE, Run, Stage
from soundloom.training.sounds import Sounds

log = logging.getLogger(__name__)

SCALE_CLIPS = 500  # clips that the latents' scale is measured on
T = TypeVar("T")


@torch.no_grad()
def fix_duration(generator: Generator, seconds: float) -> None:
    """Make every duration sound like `seconds` to a model that has heard no other; shorter clips are then cut."""
    layer = generator.conditioner.seconds_total.embedder.embedding["1"]
    assert isinstance(layer, nn.Linear)
    token = generator.conditioner.seconds_total(torch.tensor([seconds]))[0, 0]
    layer.weight.zero_()
    layer.bias.copy_(token)


class Recipe:
    """The stages of one model: configurations in one folder, what they make in another."""

    def __init__(self, configs: Path, work: Path, out: Path, until: Callable[[], bool] = lambda: False) -> None:
        self.configs, self.work, self.out, self.until = configs, work, out, until

    def run(self) -> bool:
        """Do whatever is not done yet; say whether everything is."""
        for stage in (self._tokenizer, self._autoencoder, self._latents, self._flow, self._distil):
            log.info("stage %s", stage.__name__.strip("_"))
            if not stage():
                return False
        generator = self._generator("distillation")
        if self.flow_sounds.config.pitches:
            fix_duration(generator, self.flow_sounds.config.seconds[1])
        export(self.out, self.model, self._same(), generator, self._tokenizer_file.read_bytes())
        return True

    @cached_property
    def model(self) -> ModelConfig:
        config = parse_model_config(read_table(self.configs / "model.toml"))
        if not isinstance(config, ModelConfig):
            raise ConfigError(f"{self.configs / 'model.toml'} describes an autoencoder alone")
        return config

    @cached_property
    def sounds(self) -> Sounds:
        return Sounds(self._read(SoundsConfig, "sounds"))

    @cached_property
    def flow_sounds(self) -> Sounds:
        return Sounds(self._read(SoundsConfig, "flow_sounds"))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self._tokenizer_file.read_bytes())

    @property
    def _tokenizer_file(self) -> Path:
        return self.work / "tokenizer.model"

    @property
    def _latents_file(self) -> Path:
        return self.work / "latents.npz"

    def _read(self, cls: type[T], name: str) -> T:
        return read_toml(cls, self.configs / f"{name}.toml")

    def _tokenizer(self) -> bool:
        if not self._tokenizer_file.exists():
            model = train_tokenizer(self.sounds, self._read(TokenizerConfig, "tokenizer"))
            with atomic_file(self._tokenizer_file) as file:
                file.write(model)
        return True

    def _autoencoder(self) -> bool:
        config = self._read(AutoencoderConfig, "autoencoder")
        sounds = Sounds(replace(self.sounds.config, clips=config.clips))
        torch.manual_seed(config.loop.seed)
        same = SAME(self.model.same)

        def start() -> None:
            start_from(same, fit_linear_codec(same, sounds, config))

        return self._train("autoencoder", AutoencoderStage(same, sounds, config), config.loop, start)

    def _latents(self) -> bool:
        if not self._latents_file.exists():
            same = self._same()
            settle_scale(same, self.flow_sounds, SCALE_CLIPS)
            _save(self._trained("autoencoder"), same.state_dict())
            write_latents(self._latents_file, encode_sounds(same, self.flow_sounds))
        return True

    def _flow(self) -> bool:
        config = self._read(DiTTrainingConfig, "dit")
        torch.manual_seed(config.loop.seed)
        generator = Generator(self.model, self._text_config())
        stage = FlowStage(generator, self._clips(config), config)
        return self._train("dit", stage, config.loop, lambda: initialise(generator))

    def _distil(self) -> bool:
        config = self._read(DistillationConfig, "distillation")
        clips = self._clips(self._read(DiTTrainingConfig, "dit"))
        shift = self.model.model.diffusion.sampling_shift
        stage = DistillationStage(self._generator("dit"), clips, config, shift)
        return self._train("distillation", stage, config.loop, lambda: None)

    def _train(self, name: str, stage: Stage, config: LoopConfig, start: Callable[[], None]) -> bool:
        """Begin or continue a stage; its averaged weights are kept when it ends."""
        trained = self._trained(name)
        if trained.exists():
            return True
        folder = trained.parent
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / STATE_FILE).exists():
            start()
        run = Run(stage, config, folder)
        if run.train(self.until):
            _save(trained, run.result())
        return run.finished

    def _trained(self, name: str) -> Path:
        return self.work / name / "trained.pt"

    def _same(self) -> SAME:
        same = SAME(self.model.same)
        same.load_state_dict(torch.load(self._trained("autoencoder"), weights_only=True))
        return same.eval()

    def _generator(self, stage: str) -> Generator:
        generator = Generator(self.model, self._text_config())
        generator.load_state_dict(torch.load(self._trained(stage), weights_only=True))
        return generator

    def _text_config(self) -> T5GemmaConfig:
        """The text encoder of the configuration, with the vocabulary that the tokenizer came to."""
        config = parse(T5GemmaConfig, read_table(self.configs / "text_encoder.toml"), "text_encoder")
        return replace(config, vocab_size=vocabulary_size(self._tokenizer_file.read_bytes()))

    def _clips(self, config: DiTTrainingConfig) -> Clips:
        length = self.model.model.conditioning.prompt.max_length
        captions = CaptionTokens(self.flow_sounds, self.tokenizer, length)
        return Clips(read_latents(self._latents_file), captions, config, frames_per_second(self.model))


def _save(path: Path, state: dict[str, torch.Tensor]) -> None:
    with atomic_file(path) as file:
        torch.save(state, file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train for a while or to the end; run again to go on."""
    parser = argparse.ArgumentParser(prog="python -m soundloom.training.mini", description=main.__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is not finished")
    parser.add_argument("--configs", type=Path, default=Path("configs/mini"), help="folder of the TOML files")
    parser.add_argument("--out", type=Path, default=Path("src/soundloom/models/mini"), help="folder of the model")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop, to be continued, after so long")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_flush_denormal(True)
    stop = time.monotonic() + 60 * options.minutes
    try:
        done = Recipe(options.configs, options.work, options.out, lambda: time.monotonic() > stop).run()
    except SoundloomError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(options.out if done else "not finished: the same command goes on from here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
