"""Which tensors and which configuration of a checkpoint belong to a component; the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.stable_audio import Component
from soundloom.errors import CheckpointError, EngineError

TEXT_PREFIX = "model.encoder."
_GATED = ".proj"  # the projection of a gated feed-forward layer, whose module multiplies by it in parts


@dataclass(frozen=True)
class ComponentSource:
    """What a component is built from: its configuration, its tensors by module name, its name in messages."""

    config: Any  # DiTConfig, ConditioningConfig, SAMEConfig or T5GemmaConfig
    tensors: dict[str, LazyTensor]
    what: str


def find_component(checkpoint: Checkpoint, component: Component) -> ComponentSource:
    """Return what a component is built from. Raises EngineError or CheckpointError where the checkpoint lacks it."""
    if component == "text":
        return _text_encoder(checkpoint)
    if component in ("encoder", "decoder"):
        return _autoencoder_half(checkpoint, component)
    config = _generator(checkpoint)
    if component == "dit":
        return ComponentSource(config.dit, checkpoint.component(DIT_PREFIX), f"{checkpoint.name}'s transformer")
    conditioning = config.model.conditioning
    return ComponentSource(conditioning, checkpoint.component(CONDITIONER_PREFIX), f"{checkpoint.name}'s conditioner")


def _text_encoder(checkpoint: Checkpoint) -> ComponentSource:
    files = checkpoint.text_encoder
    if files is None:
        raise CheckpointError(
            f"{checkpoint.name} has no text encoder beside it",
            "put the published folder t5gemma-b-b-ul2 next to model.safetensors",
        )
    tensors = {name.removeprefix(TEXT_PREFIX): t for name, t in files.tensors.items() if name.startswith(TEXT_PREFIX)}
    return ComponentSource(files.config, tensors, f"{checkpoint.name}'s text encoder")


def _autoencoder_half(checkpoint: Checkpoint, half: str) -> ComponentSource:
    other = "decoder" if half == "encoder" else "encoder"
    unused = [other + "."] + (["bottleneck.scaling_factor", "bottleneck.bias"] if half == "decoder" else [])
    tensors = {
        name: tensor for name, tensor in checkpoint.component(SAME_PREFIX).items() if not name.startswith(tuple(unused))
    }
    return ComponentSource(checkpoint.config.same, tensors, f"{checkpoint.name}'s autoencoder ({half})")


def _generator(checkpoint: Checkpoint) -> ModelConfig:
    if not isinstance(checkpoint.config, ModelConfig):
        raise EngineError(
            f"{checkpoint.name} is an autoencoder alone and cannot generate",
            "it encodes and decodes; generating needs small-music, small-sfx, medium or mini",
        )
    return checkpoint.config


def calling_module(layer: str) -> str:
    """Return the module that is called with what a linear layer multiplies: itself, or what wraps a gated one."""
    return layer.removesuffix(_GATED)
