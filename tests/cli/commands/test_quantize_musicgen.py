"""`soundloom quantize` of MusicGen and Instruct-MusicGen."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.musicgen.open import open_musicgen
from soundloom.config.musicgen.model import published_musicgen
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("torch", "mlx")
]


@pytest.fixture(scope="session")
def editor(tmp_path_factory):
    config = tiny_musicgen(published_musicgen("large", instruct=True))
    return make_musicgen(config, tmp_path_factory.mktemp("models") / "editor")


def distances(folder):
    return json.loads(Path(folder, "quantization.json").read_text())["distances"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_language_model_is_quantized_and_measured(soundloom, editor, source, engine):
    done = soundloom("quantize", editor, "out", "--bits", 8, "--engine", engine)
    assert done.code == 0
    assert open_musicgen(Path("out")).layout == "int8"
    report = json.loads(Path("out/quantization.json").read_text())
    assert list(report["before"]) == ["text", "codec", "lm", "adapter"]
    for kind in ("disk", "memory"):
        assert report["after"]["lm"][kind] < 0.5 * report["before"]["lm"][kind]
    assert report["after"]["codec"] == report["before"]["codec"]
    assert list(report["distances"]["cosines"]) == ["1", "10", "25", "50"]
    assert all(0.999 < cosine < 1 for cosine in report["distances"]["cosines"].values())
    assert f"{report['distances']['divergence']:.4f} nats apart" in done.out
    assert soundloom("edit", source, "Only drums", "--model", "out", "-o", "edit.wav", "--engine", engine).code == 0


def test_lower_precision_has_a_larger_error(soundloom, editor):
    for bits in ("4", "8"):
        assert soundloom("quantize", editor, bits, "--bits", bits).code == 0
    assert distances("4")["divergence"] > 10 * distances("8")["divergence"] > 0
    assert open_musicgen(Path("4")).layout == "int4"


def test_mixed_quantizes_less_sensitive_layers_to_four_bits(soundloom, tmp_path):
    config = tiny_musicgen(published_musicgen("small"))
    config = replace(config, lm=replace(config.lm, num_hidden_layers=3))
    make_musicgen(config, tmp_path / "three")
    assert soundloom("quantize", "three", "mixed", "--bits", "mixed").code == 0
    checkpoint = open_musicgen(tmp_path / "mixed")
    assert checkpoint.layout == "mixed"
    bits: dict[str, set[int]] = {}
    for name, tensor in checkpoint.tensors.items():
        if isinstance(tensor, PackedTensor):
            bits.setdefault(name.split(".")[3], set()).add(tensor.bits)
    assert bits == {"0": {8}, "1": {4, 8}, "2": {8}}


@pytest.mark.parametrize("flag", ["--calibrate", "--prompts=3"])
def test_flags_for_other_models_are_rejected(soundloom, editor, flag):
    done = soundloom("quantize", editor, "out", flag)
    assert done.code == 2
    assert "are for Stable Audio models" in done.err
    assert not Path("out").exists()


def test_a_quantized_model_is_rejected(soundloom, editor):
    assert soundloom("quantize", editor, "out", "--bits", 8).code == 0
    done = soundloom("quantize", "out", "again")
    assert done.code == 2
    assert "is already packed, as int8" in done.err
