"""Adapters of sa3.cpp in GGUF."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from soundloom.errors import CorruptFileError, MismatchError
from soundloom.lora.adapter import TYPES
from soundloom.lora.files.read import read_adapter
from tests.lora.files.gguf_files import save_gguf
from tests.lora.files.make import QKV, SHAPES, assert_equal, make_tensors, write_native

STEMS = {
    "model.preprocess_conv": "dit.pre_conv",
    "model.to_cond_embed.0": "dit.cond_embed.0",
    QKV: "dit.0.self.qkv",
    "model.transformer.layers.0.self_attn.to_out": "dit.0.self.out",
    "model.transformer.layers.1.ff.ff.0.proj": "dit.1.ff.proj",
}


def gguf(path, layers, adapter_type, **metadata):
    tensors = {
        f"{STEMS[layer]}.{kind}": a.astype(np.float32) for layer, kinds in layers.items() for kind, a in kinds.items()
    }
    known = {"general.architecture": "sa3-lora", "lora.adapter_type": adapter_type, "lora.rank": 3, "lora.alpha": 6.0}
    return save_gguf(path, tensors, {**known, "lora.n_targets": len(layers), **metadata})


@pytest.mark.parametrize("adapter_type", TYPES)
def test_gguf_files_hold_the_same(tmp_path, adapter_type):
    shapes = {layer: SHAPES[layer] for layer in STEMS}
    layers, expected = write_native(tmp_path, adapter_type, shapes=shapes, bases=True)
    found = read_adapter(gguf(tmp_path / "a.gguf", layers, adapter_type))
    assert_equal(found, expected)
    assert found.form == "gguf"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"general.architecture": "sa3-trainer-state"}, "state of a training run"),
        ({"general.architecture": "llama"}, "architecture .llama., not sa3-lora"),
        ({"lora.n_targets": 4}, "changes 4 layers, but holds 5"),
        ({"lora.adapter_type": "lora"}, "type is lora, but its tensors are those of dora"),
        ({"lora.rank": 0}, "rank is 0"),
    ],
)
def test_gguf_files_of_other_things_are_rejected(tmp_path, change, message):
    shapes = {layer: SHAPES[layer] for layer in STEMS}
    with pytest.raises(MismatchError, match=message):
        read_adapter(gguf(tmp_path / "a.gguf", make_tensors("dora-rows", shapes=shapes), "dora-rows", **change))


def test_unknown_stems_of_gguf_are_rejected(tmp_path):
    metadata = {"general.architecture": "sa3-lora"}
    for stem in ("dit.0.self.q_norm.lora_A", "dit.memory_tokens.lora_A", "t5.embed.lora_A", "dit.pre_conv.bias"):
        with pytest.raises(MismatchError, match=f"not of an adapter: {stem}"):
            read_adapter(save_gguf(tmp_path / "a.gguf", {stem: np.zeros((3, 4), np.float32)}, metadata))


def test_truncated_gguf_files_are_rejected_at_every_length(tmp_path):
    whole = gguf(tmp_path / "a.gguf", make_tensors("lora", shapes={QKV: (4, 3)}), "lora").read_bytes()
    cut = tmp_path / "cut.gguf"
    padding = len(whole) - len(whole.rstrip(b"\0"))
    for length in range(4, len(whole) - padding):
        cut.write_bytes(whole[:length])
        with pytest.raises((CorruptFileError, MismatchError)):
            read_adapter(cut)


def test_gguf_values_are_checked_before_use(tmp_path):
    def read(content):
        path = tmp_path / "a.gguf"
        path.write_bytes(b"GGUF" + content)
        with pytest.raises((CorruptFileError, MismatchError)) as caught:
            read_adapter(path)
        return caught.value.args[0]

    start = struct.pack("<IQQ", 3, 1, 1)
    pair = struct.pack("<Q", 1) + b"k"
    assert "version 9" in read(struct.pack("<IQQ", 9, 0, 0))
    assert "limit" in read(struct.pack("<IQQ", 3, 1 << 40, 0))
    assert "limit" in read(struct.pack("<IQQ", 3, 0, 1 << 40))
    assert "truncated" in read(start + struct.pack("<Q", 1 << 60))
    assert "truncated" in read(start + pair + struct.pack("<IIQ", 9, 0, 1 << 60))
    assert "truncated" in read(start + pair + struct.pack("<IIQ", 9, 8, 1 << 60))
    assert "array of arrays" in read(start + pair + struct.pack("<IIQ", 9, 9, 1))
    assert "unknown type 77" in read(start + pair + struct.pack("<I", 77))
    start = struct.pack("<IQQ", 3, 1, 0)
    assert "9 axes" in read(start + pair + struct.pack("<I", 9))
    assert "quantized" in read(start + pair + struct.pack("<IQIQ", 1, 4, 2, 0))
    assert "shape" in read(start + pair + struct.pack("<IQQIQ", 2, 1 << 62, 1 << 62, 0, 0))
    assert "beyond the end" in read(start + pair + struct.pack("<IQIQ", 1, 4, 0, 1 << 63))
