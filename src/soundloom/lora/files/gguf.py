"""Adapters of sa3.cpp in GGUF, which name layers of the transformer in their own way and leave out the conditioner."""

from __future__ import annotations

import re
from pathlib import Path

from soundloom.checkpoints.formats.gguf import read_gguf
from soundloom.errors import shown
from soundloom.lora.files.layers import KINDS
from soundloom.lora.files.parts import Layers, Parts, add, mismatch, not_an_adapter, some

_ADAPTER, _STATE = "sa3-lora", "sa3-trainer-state"
_TOP = {
    "pre_conv": "preprocess_conv",
    "post_conv": "postprocess_conv",
    "cond_embed": "to_cond_embed",
    "global_embed": "to_global_embed",
    "time_embed": "to_timestep_embed",
    "gce": "transformer.global_cond_embedder",
    "proj_in": "transformer.project_in",
    "proj_out": "transformer.project_out",
}
_IN_BLOCK = {
    "self.qkv": "self_attn.to_qkv",
    "self.out": "self_attn.to_out",
    "cross.q": "cross_attn.to_q",
    "cross.kv": "cross_attn.to_kv",
    "cross.out": "cross_attn.to_out",
    "ff.proj": "ff.ff.0.proj",
    "ff.out": "ff.ff.2",
    "local.0": "to_local_embed.0",
    "local.2": "to_local_embed.2",
}
_BLOCK = re.compile(r"dit\.(\d+)\.(.+)")
_OUTER = re.compile(r"dit\.([a-z_]+)(\.[02])?")


def read_gguf_adapter(path: Path) -> Parts:
    """Return the contents of a GGUF adapter. Raises CorruptFileError, or MismatchError for other GGUF files."""
    tensors, metadata = read_gguf(path)
    architecture = metadata.get("general.architecture")
    if architecture == _STATE:
        hint = "read the adapter beside it, such as adapter-step-N.gguf"
        raise not_an_adapter(path, "is the state of a training run, not an adapter", hint)
    if architecture != _ADAPTER:
        raise not_an_adapter(path, f"is a GGUF file of the architecture {shown(architecture)!r}, not {_ADAPTER}")
    layers: Layers = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        layer = _native(stem)
        if layer is None or kind not in KINDS:
            raise mismatch(path, f"holds tensors that are not of an adapter: {some([name])}")
        add(layers, path, layer, kind, tensor)
    count = metadata.get("lora.n_targets", len(layers))
    if count != len(layers):
        raise mismatch(path, f"says that it changes {shown(count)} layers, but holds {len(layers)}")
    named = {"adapter_type": "lora.adapter_type", "rank": "lora.rank", "alpha": "lora.alpha"}
    config = {key: metadata[name] for key, name in named.items() if name in metadata}
    return Parts(path, "gguf", layers, config)


def _native(stem: str) -> str | None:
    if match := _BLOCK.fullmatch(stem):
        inner = _IN_BLOCK.get(match[2])
        return inner and f"model.transformer.layers.{match[1]}.{inner}"
    match = _OUTER.fullmatch(stem)
    outer = _TOP.get(match[1]) if match else None
    return f"model.{outer}{match[2] or ''}" if match and outer else None
