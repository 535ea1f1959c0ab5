"""The layers that an adapter may change: every linear layer and convolution of the transformer and the conditioner.

In adapter files their names start with `model.` or `conditioners.`; in checkpoints with the prefixes of components.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.shapes import (
    CONDITIONER_PREFIX,
    DIT_PREFIX,
    conditioner_shapes,
    dit_shapes,
)
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.lora.adapter import CONDITIONER as CONDITIONER
from soundloom.lora.adapter import TRANSFORMER as TRANSFORMER

if TYPE_CHECKING:  # opening checkpoints imports much that reading adapters does not need
    from soundloom.checkpoints.stable_audio.open import Checkpoint

SECONDS = "conditioners.seconds_total.embedder.embedding.1"

# Short names of groups of layers, by parts of their names.
GROUPS: dict[str, tuple[str, ...]] = {
    "self_attn": (".self_attn.",),
    "cross_attn": (".cross_attn.",),
    "ff": (".ff.",),
    "local": (".to_local_embed.",),
    "embeds": (
        ".to_timestep_embed.",
        ".to_cond_embed.",
        ".to_global_embed.",
        ".global_cond_embedder.",
        ".project_in",
        ".project_out",
        ".preprocess_conv",
        ".postprocess_conv",
    ),
    "seconds": (".seconds_total.",),
    "core": (".self_attn.", ".cross_attn.", ".ff."),  # what most published adapters change
}


def group_of(module: str) -> str:
    """Return the group of a layer, by its name in adapter files: the first whose parts its name has."""
    return next((group for group, parts in GROUPS.items() if any(part in f".{module}." for part in parts)), "others")


def module_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of all layers that an adapter may change, by their names in adapter files."""
    parts = ((TRANSFORMER, dit_shapes(config.dit)), (CONDITIONER, conditioner_shapes(config.dit.cond_token_dim)))
    return {
        prefix + name.removesuffix(".weight"): shape
        for prefix, shapes in parts
        for name, shape in shapes.items()
        if name.endswith(".weight")
    }


def weight_key(module: str) -> str:
    """Return the name in full checkpoints of the weight of a layer."""
    if module.startswith(TRANSFORMER):
        return f"{DIT_PREFIX}{module.removeprefix(TRANSFORMER)}.weight"
    return f"{CONDITIONER_PREFIX}{module.removeprefix(CONDITIONER)}.weight"


def base_weights(checkpoint: Checkpoint) -> dict[str, LazyTensor]:
    """Return the weights of a checkpoint that an adapter may change, by their names in adapter files.

    `numpy()` dequantizes packed ones.
    """
    found: Mapping[str, LazyTensor] = checkpoint.tensors
    names = module_shapes(checkpoint.config) if isinstance(checkpoint.config, ModelConfig) else {}
    return {name: found[weight_key(name)] for name in names}


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (out, in) of a weight seen as a matrix: a convolution's axes after the first are joined."""
    inputs = 1
    for size in shape[1:]:
        inputs *= size
    return shape[0], inputs
