"""Load the weights of a pretrained model for fine-tuning."""

from __future__ import annotations

from torch import nn

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import SAME_PREFIX
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.engines.base import ComponentSource
from soundloom.engines.stable_audio import find_component
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.errors import CheckpointError, RequestError
from soundloom.training.init.generator import Generator


class PretrainedModel:
    """A checkpoint from which training takes copies of the networks, in single precision.

    Raises RequestError for an autoencoder without a generator, CheckpointError without a text encoder.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        if not isinstance(checkpoint.config, ModelConfig):
            raise RequestError(f"{checkpoint.name} is only an autoencoder", "start from a model that generates")
        if checkpoint.text_encoder is None:
            raise CheckpointError(f"{checkpoint.name} has no text encoder")
        self.checkpoint = checkpoint
        self.config: ModelConfig = checkpoint.config
        self.text_encoder: T5GemmaConfig = checkpoint.text_encoder.config
        self.tokenizer = checkpoint.text_encoder.tokenizer

    def same(self) -> SAME:
        """Return the autoencoder."""
        same = SAME(self.config.same)
        what = f"{self.checkpoint.name}'s autoencoder"
        _fill(same, ComponentSource(self.config.same, self.checkpoint.component(SAME_PREFIX), what))
        return same

    def text(self) -> T5GemmaEncoder:
        """Return the text encoder."""
        encoder = T5GemmaEncoder(self.text_encoder)
        _fill(encoder, find_component(self.checkpoint, "text"))
        return encoder

    def fill(self, generator: Generator) -> None:
        """Load transformer, conditioner and text encoder into a generator."""
        _fill(generator.dit, find_component(self.checkpoint, "dit"))
        _fill(generator.conditioner, find_component(self.checkpoint, "conditioner"))
        _fill(generator.text, find_component(self.checkpoint, "text"))


def _fill(module: nn.Module, part: ComponentSource) -> None:
    """Copy tensors, which may be memory-mapped, into a module."""
    stored = load_module(lambda: type(module)(part.config), part.tensors, part.label)
    module.load_state_dict(stored.state_dict())
