"""Write MusicGen in soundloom's own layout: everything merged into one safetensors file, packed weights as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from soundloom.atomic import atomic_file, write_json
from soundloom.checkpoints.bundle import BUNDLE_BITS, require_group
from soundloom.checkpoints.layouts import Tensors
from soundloom.checkpoints.musicgen_open import OWN_CONFIG
from soundloom.checkpoints.musicgen_parts import TOKENIZER_FILE, WEIGHTS_FILE
from soundloom.checkpoints.musicgen_shapes import LM_PREFIX
from soundloom.checkpoints.packed import PackedTensor, pack_tensor, split
from soundloom.checkpoints.safetensors_file import write_safetensors
from soundloom.checkpoints.tensors import LazyTensor
from soundloom.config.music_catalogue import own_config
from soundloom.config.musicgen import MusicGenConfig

OWN_LAYOUTS = ("musicgen", *BUNDLE_BITS)
_PACKED_LAYER = re.compile(rf"{re.escape(LM_PREFIX)}transformer\.layers\.\d+\.\w+(\.\w+)?\.weight")


def save_musicgen(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write canonically named tensors with their configuration and tokenizer into `folder`."""
    write_safetensors(folder / WEIGHTS_FILE, split(tensors.values()), {"format": "pt"})
    with atomic_file(folder / TOKENIZER_FILE) as file:
        file.write(tokenizer)
    write_json(folder / OWN_CONFIG, own_config(config))  # last: with it the folder is a model


def pack_lm(tensors: Mapping[str, LazyTensor], bits: int, group: int) -> Tensors:
    """Pack the matrices in the language model's layers, as the published bundle does; the rest in half precision.

    The codec stays as it is. A weight that is packed already keeps its codes. Raises RequestError for the group.
    """
    require_group(group)
    return {name: _packed(tensor, bits, group) for name, tensor in tensors.items()}


def can_pack(name: str, shape: tuple[int, ...], group: int) -> bool:
    """Whether the published bundle would pack a tensor."""
    return _PACKED_LAYER.fullmatch(name) is not None and len(shape) == 2 and shape[1] % group == 0


def _packed(tensor: LazyTensor, bits: int, group: int) -> LazyTensor:
    if isinstance(tensor, PackedTensor):
        return tensor
    if can_pack(tensor.name, tensor.shape, group):
        return pack_tensor(tensor, bits, group)
    return tensor.cast("F16") if tensor.name.startswith((LM_PREFIX, "cp_transformer.")) else tensor
