"""`soundloom lora` on mutated adapters and bases files works or reports one error, and leaves no file behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.cli.main import main
from soundloom.lora.bases import write_bases
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import SECONDS, base_weights
from tests.lora.made import make_adapter
from tests.robustness.mutators import formats
from tests.robustness.mutators.base import MAX_MESSAGE, inputs
from tests.robustness.mutators.models import replace

COUNT = 30
LAYERS = ("model.transformer.layers.0.self_attn.to_qkv", "model.preprocess_conv", SECONDS)
COMMANDS = (
    ("info", "a.safetensors"),
    ("info", "a.safetensors", "--model", "mini", "--json", "-q"),
    ("convert", "a.safetensors", "out.safetensors"),
    ("combine", "a.safetensors", "whole.safetensors", "-o", "out.safetensors"),
    ("resize", "a.safetensors", "-o", "out.safetensors", "--rank", "1"),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("adapter_type", ["lora", "dora-rows", "bora-xs"])
def test_a_mutated_adapter_is_read_or_refused(adapter_type, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOUNDLOOM_DEBUG", raising=False)
    weights = base_weights(open_checkpoint("mini"))
    write_adapter(Path("whole.safetensors"), make_adapter(adapter_type, weights, names=LAYERS, base_model="mini"))
    whole = Path("whole.safetensors").read_bytes()
    refused = 0
    for number, rng in enumerate(inputs(COUNT, adapter_type)):
        replace(Path("a.safetensors"), formats.mutate_safetensors(whole, rng))
        for command in COMMANDS:
            refused += run(command, capfd, f"{command[0]}, input {number}")
    assert refused


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_mutated_bases_file_is_read_or_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOUNDLOOM_DEBUG", raising=False)
    weights = base_weights(open_checkpoint("mini"))
    write_adapter(Path("a.safetensors"), make_adapter("lora-xs", weights, names=LAYERS), slim=True)
    write_bases(Path("whole.safetensors"), {name: weights[name] for name in LAYERS}, 4)
    whole = Path("whole.safetensors").read_bytes()
    refused = 0
    for number, rng in enumerate(inputs(COUNT, "bases")):
        replace(Path("bases.safetensors"), formats.mutate_safetensors(whole, rng))
        for options in ((), ("--model", "mini")):
            command = ("convert", "a.safetensors", "out.safetensors", "--bases", "bases.safetensors", *options)
            refused += run(command, capfd, f"input {number}")
    assert refused


def run(command, capfd, what) -> bool:
    code = main(["lora", *command])
    err = capfd.readouterr().err
    said = [line for line in err.split("\n") if line.startswith("error: ")]
    assert "unexpected error" not in err, f"{what}: {err}"
    assert all(line.isprintable() for line in err.split("\n")), f"{what}: {err!r}"
    assert len(said) == bool(code), f"{what}: {err!r}"
    assert not said or len(said[0]) < MAX_MESSAGE, f"{what}: {err}"
    assert Path("out.safetensors").exists() == (not code and "out.safetensors" in command), what
    Path("out.safetensors").unlink(missing_ok=True)
    return bool(code)
