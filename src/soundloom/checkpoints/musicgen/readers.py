"""Read each layout of MusicGen and Instruct-MusicGen, and return its tensors under canonical names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from soundloom.checkpoints.formats.packed import PackedTensor, join_triplets
from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.rows import join_rows
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors
from soundloom.checkpoints.musicgen.components import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    best_state,
    canonical_t5,
    open_codec,
    open_t5,
    read_tokenizer,
    read_weights,
)
from soundloom.checkpoints.musicgen.infer import infer_adapter, infer_lm
from soundloom.checkpoints.musicgen.layouts import (
    CODEC_TRANSFORMERS,
    LIGHTNING,
    LM_AUDIOCRAFT,
    LM_BUNDLE,
    LM_TRANSFORMERS,
    canonical_attention,
    fold_weight_norms,
    merge_lora,
)
from soundloom.checkpoints.musicgen.shapes import (
    ADAPTER_PREFIX,
    ENCODEC_PREFIX,
    LM_PREFIX,
    T5_PREFIX,
    lm_shapes,
)
from soundloom.config.musicgen.model import LMConfig, MusicGenConfig, parse_composite_config
from soundloom.config.parse import parse
from soundloom.errors import ConfigError
from soundloom.untrusted.json import read_json

OWN_CONFIG = "model_config.json"
_GROUP_SIZE = 64  # of bundles that do not state theirs
_BUNDLE_PREFIX = re.compile(r"^(lm\.|model\.)+")


@dataclass(frozen=True)
class AuxiliaryFolders:
    """Folders of components that the model's own folder lacks, where they are known."""

    t5: Path | None = None
    codec: Path | None = None


@dataclass(frozen=True)
class ReadModel:
    """The result of a reader: canonical tensors, and for the fingerprint the stored tensors of each file."""

    layout: str
    config: MusicGenConfig
    tensors: Tensors
    tokenizer: bytes
    files: tuple[Path, ...]
    stored: tuple[Tensors, ...]


def _with_prefixes(t5: Tensors, codec: Tensors, lm: Tensors, adapter: Tensors) -> Tensors:
    parts = {T5_PREFIX: t5, ENCODEC_PREFIX: codec, LM_PREFIX: lm, ADAPTER_PREFIX: adapter}
    return {prefix + name: t.renamed(prefix + name) for prefix, part in parts.items() for name, t in part.items()}


def _within(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors of one component, with the prefix removed from keys and tensor names."""
    start = len(prefix)
    return {name[start:]: tensor.renamed(name[start:]) for name, tensor in tensors.items() if name.startswith(prefix)}


# soundloom's own layout


def read_own(folder: Path) -> ReadModel:
    config = parse(MusicGenConfig, read_json(folder / OWN_CONFIG))
    stored = read_safetensors(folder / WEIGHTS_FILE)
    tensors = join_triplets(stored, str(folder / WEIGHTS_FILE), _GROUP_SIZE)
    files = (folder / WEIGHTS_FILE,)
    return ReadModel(_own_layout(tensors), config, tensors, read_tokenizer(folder), files, (stored,))


def _own_layout(tensors: Tensors) -> str:
    bits = {tensor.bits for tensor in tensors.values() if isinstance(tensor, PackedTensor)}
    return {frozenset(): "musicgen", frozenset({4}): "int4", frozenset({8}): "int8"}.get(frozenset(bits), "mixed")


# transformers


def read_transformers(folder: Path) -> ReadModel:
    config = parse_composite_config(read_json(folder / CONFIG_FILE))
    files, stored = read_weights(folder)
    t5, codec = _within(stored, "text_encoder."), _within(stored, "audio_encoder.")
    rest = {name: t for name, t in stored.items() if not name.startswith(("text_encoder.", "audio_encoder."))}
    tensors = _with_prefixes(
        canonical_t5(t5),
        fold_weight_norms(CODEC_TRANSFORMERS.to_canonical(codec)),
        canonical_attention(LM_TRANSFORMERS.to_canonical(rest)),
        {},
    )
    return ReadModel("transformers", config, tensors, read_tokenizer(folder), tuple(files), (stored,))


# audiocraft


def read_audiocraft(path: Path, auxiliary: AuxiliaryFolders) -> ReadModel:
    codec, t5 = open_codec(path.parent, auxiliary.codec), open_t5(path.parent, auxiliary.t5)
    stored, training = best_state(read_pickle(path), path)
    lm = canonical_attention(LM_AUDIOCRAFT.to_canonical(stored))
    config = MusicGenConfig(t5.config, codec.config, infer_lm(lm, codec.config, training))
    tensors = _with_prefixes(t5.tensors, codec.tensors, lm, {})
    files = (path, codec.path, t5.path)
    return ReadModel("audiocraft", config, tensors, t5.tokenizer, files, (stored, codec.stored, t5.stored))


# The adapter's training checkpoint


def read_training(path: Path, auxiliary: AuxiliaryFolders) -> ReadModel:
    codec, t5 = open_codec(path.parent, auxiliary.codec), open_t5(path.parent, auxiliary.t5)
    data = read_pickle(path)
    stored = tensors_of(data.get("state_dict") if isinstance(data, dict) else None, str(path))
    everything = canonical_attention(LIGHTNING.to_canonical(stored))
    adapter = _within(everything, ADAPTER_PREFIX)
    instruct = infer_adapter(adapter)
    lm = {name: tensor for name, tensor in everything.items() if not name.startswith(ADAPTER_PREFIX)}
    down = next((tensor for name, tensor in lm.items() if name.endswith(".lora_A.weight")), None)
    if down is not None and down.shape:
        # Only the rank can be inferred; the published model has alpha = 2 * rank.
        instruct = replace(instruct, lora_rank=down.shape[0], lora_alpha=2 * down.shape[0])
    lm = merge_lora(lm, instruct.lora_alpha)
    config = MusicGenConfig(t5.config, codec.config, infer_lm(lm, codec.config), instruct)
    tensors = _with_prefixes(t5.tensors, codec.tensors, lm, adapter)
    files = (path, codec.path, t5.path)
    return ReadModel("instruct", config, tensors, t5.tokenizer, files, (stored, codec.stored, t5.stored))


# The MLX bundle


def read_bundle(folder: Path, auxiliary: AuxiliaryFolders) -> ReadModel:
    data, weights = read_json(folder / CONFIG_FILE), folder / WEIGHTS_FILE
    codec, t5 = open_codec(folder, auxiliary.codec), open_t5(folder, auxiliary.t5)
    stored = read_safetensors(weights)
    quantization = data.get("quantization") or data.get("quantization_config") or {}
    group_size = quantization.get("group_size", _GROUP_SIZE) if isinstance(quantization, Mapping) else None
    if not isinstance(group_size, int):
        raise ConfigError(f"the quantization in {folder / CONFIG_FILE} must be an object with an integer group_size")
    joined = join_triplets(stored, str(weights), group_size)
    sizes = replace(parse_composite_config(data).lm, text_width=t5.config.d_model)
    lm, rest = _split_lm(joined, sizes)
    adapter = _find_adapter(rest, sizes)
    instruct = infer_adapter(adapter) if "pos_emb" in adapter else None
    config = MusicGenConfig(t5.config, codec.config, sizes, instruct)
    tensors = _with_prefixes(t5.tensors, codec.tensors, lm, adapter)
    files = (weights, codec.path, t5.path)
    return ReadModel(_own_layout(tensors), config, tensors, t5.tokenizer, files, (stored, codec.stored, t5.stored))


def _split_lm(tensors: Tensors, sizes: LMConfig) -> tuple[Tensors, Tensors]:
    """Split canonically named tensors into those of the language model and all others."""
    named = {_BUNDLE_PREFIX.sub("", name): tensor for name, tensor in tensors.items()}
    named = {name: tensor.renamed(name) for name, tensor in named.items()}
    wanted, canonical = lm_shapes(sizes), canonical_attention(LM_BUNDLE.to_canonical(named))
    rest = {name: tensor for name, tensor in canonical.items() if name not in wanted}
    return {name: tensor for name, tensor in canonical.items() if name in wanted}, rest


def _find_adapter(tensors: Tensors, lm: LMConfig) -> Tensors:
    """Identify the adapter's tensors by shape, since their names are not published. Others keep theirs: an error."""
    layers, d = lm.num_hidden_layers, lm.hidden_size
    gates: list[LazyTensor] = []
    result: Tensors = {}
    merges = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: [int(n) for n in re.findall(r"\d+", item[0])]):
        if len(tensor.shape) == 3 and (tensor.shape[0], tensor.shape[2]) == (layers + 1, d):
            name = "pos_emb"
        elif tensor.shape == (d, d):
            name, merges = f"merge_linear.{merges}.weight", merges + 1
        elif tensor.shape == (layers,):
            name = "gates"
        elif math.prod(tensor.shape) == 1:
            gates.append(replace(tensor, shape=(1,)))
            continue
        result[name] = tensor.renamed(name)
    return result | ({"gates": join_rows(gates, "gates")} if gates else {})
