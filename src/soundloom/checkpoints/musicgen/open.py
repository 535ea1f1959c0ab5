"""From a folder or file to a MusicGen or Instruct-MusicGen checkpoint: its configuration and its tensors.

Known are soundloom's own layout, the folders of transformers and of audiocraft, the adapter's training checkpoint and
its MLX bundle. Every tensor of every layout is used, or listed as one that no loader needs, or an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.fingerprint import fingerprint
from soundloom.checkpoints.formats.packed import PackedTensor, join_triplets
from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.rows import join_rows
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors
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
from soundloom.checkpoints.musicgen.parts import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    best_state,
    canonical_t5,
    open_codec,
    open_t5,
    read_tokenizer,
    read_weights,
)
from soundloom.checkpoints.musicgen.shapes import (
    ADAPTER_PREFIX,
    ENCODEC_PREFIX,
    LM_PREFIX,
    T5_PREFIX,
    lm_shapes,
    musicgen_shapes,
)
from soundloom.config.musicgen.model import LMConfig, MusicGenConfig, parse_composite_config
from soundloom.config.parse import parse
from soundloom.errors import ConfigError, CorruptFileError, ModelNotFoundError
from soundloom.untrusted.json import read_json

OWN_CONFIG, STATE_FILE = "model_config.json", "state_dict.bin"
_GROUP = 64  # weights that share a scale, where a bundle does not say
_BUNDLE_PREFIX = re.compile(r"^(lm\.|model\.)+")


@dataclass(frozen=True)
class MusicGenCheckpoint:
    """An opened model. Tensors have the names of `musicgen_shapes`, with the prefixes of their components.

    `layout` is musicgen (soundloom's own), transformers, audiocraft, instruct (the training checkpoint), or int4, int8
    and mixed for packed weights. `fingerprint` is 16 hexadecimal digits that change with any name, dtype, shape or the
    edges of any tensor in the files. `files` are all that hold weights.
    """

    name: str
    config: MusicGenConfig
    tensors: Mapping[str, LazyTensor]
    tokenizer: bytes
    layout: str
    fingerprint: str
    path: Path
    license: str
    files: tuple[Path, ...]
    text_encoder: None = None  # it is among the tensors

    @property
    def is_packed(self) -> bool:
        """Whether any weight is in codes of few bits."""
        return any(isinstance(tensor, PackedTensor) for tensor in self.tensors.values())

    def component(self, prefix: str) -> Tensors:
        """The tensors whose names begin with `prefix`, without it."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Beside:
    """Folders of the parts that a model's own folder lacks, where they are known."""

    t5: Path | None = None
    codec: Path | None = None


@dataclass(frozen=True)
class _Found:
    """What a layout's reader gives: canonical tensors, and those of the files as they are."""

    layout: str
    config: MusicGenConfig
    tensors: Tensors
    tokenizer: bytes
    files: tuple[Path, ...]
    stored: tuple[Tensors, ...]


def open_musicgen(path: Path, beside: Beside | None = None, name: str = "", license: str = "") -> MusicGenCheckpoint:
    """Open a folder, or a file whose folder has the rest. Raises ModelNotFoundError, ConfigError, CheckpointError."""
    folder = path if path.is_dir() else path.parent
    found = _read(path, folder, beside or Beside())
    tensors = require_match(found.tensors, musicgen_shapes(found.config), str(path))
    return MusicGenCheckpoint(
        name=name or folder.resolve().name,
        config=found.config,
        tensors=tensors,
        tokenizer=found.tokenizer,
        layout=found.layout,
        fingerprint=fingerprint([tensor for part in found.stored for tensor in part.values()]),
        path=folder,
        license=license or "CC-BY-NC 4.0 where the weights are the published ones; see the files beside them",
        files=found.files,
    )


def is_musicgen(path: Path) -> bool:
    """Whether a folder or file is one of the layouts here."""
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.suffix in (".bin", ".ckpt"):
        return path.name == STATE_FILE or _holds_adapter(path)
    own, composite = folder / OWN_CONFIG, folder / CONFIG_FILE
    if own.is_file():
        return read_json(own).get("model_type") == "musicgen"
    if composite.is_file():
        return read_json(composite).get("model_type") == "musicgen"
    training = _find_training(folder)
    return (folder / STATE_FILE).is_file() or (training is not None and _holds_adapter(training))


def _holds_adapter(path: Path) -> bool:
    """Whether a .ckpt is the adapter's training checkpoint, told by its names, and not one of any other model."""
    try:
        data = read_pickle(path)
    except CorruptFileError:
        return False
    names = data.get("state_dict") if isinstance(data, dict) else None
    return isinstance(names, dict) and any(str(name).startswith("model.cp_transformer.") for name in names)


def _find_training(folder: Path) -> Path | None:
    """The adapter's training checkpoint, if it is the only one in the folder."""
    found = sorted(folder.glob("*.ckpt"))
    return found[0] if len(found) == 1 else None


def _read(path: Path, folder: Path, beside: Beside) -> _Found:
    if path.suffix == ".ckpt":
        return _read_training(path, beside)
    if path.name == STATE_FILE:
        return _read_audiocraft(path, beside)
    if (folder / OWN_CONFIG).is_file():
        return _read_own(folder)
    if (folder / CONFIG_FILE).is_file() and read_json(folder / CONFIG_FILE).get("model_type") == "musicgen":
        is_bundle = (folder / WEIGHTS_FILE).is_file() and _holds_codes(folder / WEIGHTS_FILE)
        return _read_bundle(folder, beside) if is_bundle else _read_transformers(folder)
    if (folder / STATE_FILE).is_file():
        return _read_audiocraft(folder / STATE_FILE, beside)
    training = _find_training(folder)
    if training is None:
        raise ModelNotFoundError(
            f"the folder {folder} is not a MusicGen model",
            f"it needs {CONFIG_FILE} with {WEIGHTS_FILE}, or {STATE_FILE}, or a .ckpt",
        )
    return _read_training(training, beside)


def _holds_codes(weights: Path) -> bool:
    return any(name.endswith(".scales") for name in read_safetensors(weights))


def _with_prefixes(t5: Tensors, codec: Tensors, lm: Tensors, adapter: Tensors) -> Tensors:
    parts = {T5_PREFIX: t5, ENCODEC_PREFIX: codec, LM_PREFIX: lm, ADAPTER_PREFIX: adapter}
    return {prefix + name: t.renamed(prefix + name) for prefix, part in parts.items() for name, t in part.items()}


def _within(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors of one component without its prefix, in their own names too."""
    start = len(prefix)
    return {name[start:]: tensor.renamed(name[start:]) for name, tensor in tensors.items() if name.startswith(prefix)}


# Soundloom's own


def _read_own(folder: Path) -> _Found:
    config = parse(MusicGenConfig, read_json(folder / OWN_CONFIG))
    stored = read_safetensors(folder / WEIGHTS_FILE)
    tensors = join_triplets(stored, str(folder / WEIGHTS_FILE), _GROUP)
    files = (folder / WEIGHTS_FILE,)
    return _Found(_own_layout(tensors), config, tensors, read_tokenizer(folder), files, (stored,))


def _own_layout(tensors: Tensors) -> str:
    bits = {tensor.bits for tensor in tensors.values() if isinstance(tensor, PackedTensor)}
    return {frozenset(): "musicgen", frozenset({4}): "int4", frozenset({8}): "int8"}.get(frozenset(bits), "mixed")


# transformers


def _read_transformers(folder: Path) -> _Found:
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
    return _Found("transformers", config, tensors, read_tokenizer(folder), tuple(files), (stored,))


# audiocraft


def _read_audiocraft(path: Path, beside: Beside) -> _Found:
    codec, t5 = open_codec(path.parent, beside.codec), open_t5(path.parent, beside.t5)
    stored, training = best_state(read_pickle(path), path)
    lm = canonical_attention(LM_AUDIOCRAFT.to_canonical(stored))
    config = MusicGenConfig(t5.config, codec.config, infer_lm(lm, codec.config, training))
    tensors = _with_prefixes(t5.tensors, codec.tensors, lm, {})
    files = (path, codec.path, t5.path)
    return _Found("audiocraft", config, tensors, t5.tokenizer, files, (stored, codec.stored, t5.stored))


# The adapter's training checkpoint


def _read_training(path: Path, beside: Beside) -> _Found:
    codec, t5 = open_codec(path.parent, beside.codec), open_t5(path.parent, beside.t5)
    data = read_pickle(path)
    stored = tensors_of(data.get("state_dict") if isinstance(data, dict) else None, str(path))
    everything = canonical_attention(LIGHTNING.to_canonical(stored))
    adapter = _within(everything, ADAPTER_PREFIX)
    instruct = infer_adapter(adapter)
    lm = {name: tensor for name, tensor in everything.items() if not name.startswith(ADAPTER_PREFIX)}
    down = next((tensor for name, tensor in lm.items() if name.endswith(".lora_A.weight")), None)
    if down is not None and down.shape:
        # The published factor of alpha over rank is 2; of the two only the rank can be told.
        instruct = replace(instruct, lora_rank=down.shape[0], lora_alpha=2 * down.shape[0])
    lm = merge_lora(lm, instruct.lora_alpha)
    config = MusicGenConfig(t5.config, codec.config, infer_lm(lm, codec.config), instruct)
    tensors = _with_prefixes(t5.tensors, codec.tensors, lm, adapter)
    files = (path, codec.path, t5.path)
    return _Found("instruct", config, tensors, t5.tokenizer, files, (stored, codec.stored, t5.stored))


# The MLX bundle


def _read_bundle(folder: Path, beside: Beside) -> _Found:
    data, weights = read_json(folder / CONFIG_FILE), folder / WEIGHTS_FILE
    codec, t5 = open_codec(folder, beside.codec), open_t5(folder, beside.t5)
    stored = read_safetensors(weights)
    said = data.get("quantization") or data.get("quantization_config") or {}
    group_size = said.get("group_size", _GROUP) if isinstance(said, Mapping) else None
    if not isinstance(group_size, int):
        raise ConfigError(f"the quantization in {folder / CONFIG_FILE} must be an object with a whole group_size")
    joined = join_triplets(stored, str(weights), group_size)
    sizes = replace(parse_composite_config(data).lm, text_width=t5.config.d_model)
    lm, rest = _part_lm(joined, sizes)
    adapter = _find_adapter(rest, sizes)
    instruct = infer_adapter(adapter) if "pos_emb" in adapter else None
    config = MusicGenConfig(t5.config, codec.config, sizes, instruct)
    tensors = _with_prefixes(t5.tensors, codec.tensors, lm, adapter)
    files = (weights, codec.path, t5.path)
    return _Found(_own_layout(tensors), config, tensors, t5.tokenizer, files, (stored, codec.stored, t5.stored))


def _part_lm(tensors: Tensors, sizes: LMConfig) -> tuple[Tensors, Tensors]:
    """The tensors of the language model under canonical names, and all others."""
    named = {_BUNDLE_PREFIX.sub("", name): tensor for name, tensor in tensors.items()}
    named = {name: tensor.renamed(name) for name, tensor in named.items()}
    wanted, canonical = lm_shapes(sizes), canonical_attention(LM_BUNDLE.to_canonical(named))
    rest = {name: tensor for name, tensor in canonical.items() if name not in wanted}
    return {name: tensor for name, tensor in canonical.items() if name in wanted}, rest


def _find_adapter(tensors: Tensors, lm: LMConfig) -> Tensors:
    """The adapter, told by shapes since its names are not published. What does not fit keeps its name: an error."""
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
