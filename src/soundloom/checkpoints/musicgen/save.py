"""Write MusicGen in soundloom's own layout: all components in one safetensors file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from soundloom.atomic import atomic_file, write_json
from soundloom.checkpoints.formats.packed import PackedTensor, pack_tensor, stored_parts
from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors
from soundloom.checkpoints.musicgen.components import TOKENIZER_FILE, WEIGHTS_FILE
from soundloom.checkpoints.musicgen.readers import OWN_CONFIG
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, LM_PREFIX
from soundloom.checkpoints.stable_audio.bundle import require_group_size
from soundloom.config.musicgen.catalogue import own_config
from soundloom.config.musicgen.model import MusicGenConfig

_PACKED_LAYER = re.compile(rf"{re.escape(LM_PREFIX)}transformer\.layers\.\d+\.\w+(\.\w+)?\.weight")


def save_musicgen(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write canonically named tensors with their configuration and tokenizer into `folder`."""
    write_safetensors(folder / WEIGHTS_FILE, stored_parts(tensors.values()), {"format": "pt"})
    with atomic_file(folder / TOKENIZER_FILE) as file:
        file.write(tokenizer)
    write_json(folder / OWN_CONFIG, own_config(config))  # last, since it makes the folder a model


def lm_bits(tensors: Mapping[str, LazyTensor], bits: int, group_size: int) -> dict[str, int]:
    """Map every tensor that the published bundle packs, the matrices of the language model's layers, to `bits`."""
    return {name: bits for name, tensor in tensors.items() if can_pack(name, tensor.shape, group_size)}


def pack_lm(tensors: Mapping[str, LazyTensor], bits: Mapping[str, int], group_size: int) -> Tensors:
    """Quantize the weights in `bits`, and cast the rest of language model and adapter to half precision.

    The codec, the text encoder and weights that are already packed stay unchanged. Raises RequestError for an
    unsupported group size.
    """
    require_group_size(group_size)
    return {name: _packed(tensor, bits.get(name), group_size) for name, tensor in tensors.items()}


def can_pack(name: str, shape: tuple[int, ...], group_size: int) -> bool:
    """Whether the published bundle packs a tensor with this name and shape."""
    return _PACKED_LAYER.fullmatch(name) is not None and len(shape) == 2 and shape[1] % group_size == 0


def _packed(tensor: LazyTensor, bits: int | None, group_size: int) -> LazyTensor:
    if isinstance(tensor, PackedTensor):
        return tensor
    if bits is not None:
        return pack_tensor(tensor, bits, group_size)
    return tensor.cast("F16") if tensor.name.startswith((LM_PREFIX, ADAPTER_PREFIX)) else tensor
