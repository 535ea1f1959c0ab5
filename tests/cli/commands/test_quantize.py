import json
from pathlib import Path

import pytest

from soundloom.checkpoints.stable_audio.open import open_checkpoint


def test_a_model_is_quantized_and_measured(soundloom, tiny_model_folder):
    done = soundloom("quantize", tiny_model_folder, "out", "--bits", 8)
    assert done.code == 0
    assert open_checkpoint("out").layout == "int8"
    report = json.loads(Path("out/quantization.json").read_text())
    assert report["after"]["dit"]["memory"] < 0.4 * report["before"]["dit"]["memory"]
    assert report["after"]["decoder"] == report["before"]["decoder"]
    assert all(cosine > 0.999 for cosine in report["distances"]["cosines"].values())
    assert report["distances"]["first_step_snr"] > 30
    assert f"{report['distances']['first_step_snr']:.1f} dB signal to noise" in done.out


def test_both_models_are_evaluated_on_prompts(soundloom):
    done = soundloom("quantize", "mini", "out", "--bits", 8, "--prompts", 2)
    assert done.code == 0
    followed = json.loads(Path("out/quantization.json").read_text())["adherence"]
    kind = next(both for both in followed if both["full"]["name"] == "kind of sound recognized")
    assert kind["full"]["count"] == kind["packed"]["count"] == 2
    assert f"kind of sound recognized: {100 * kind['full']['value']:.0f} to " in done.out


def test_a_negative_number_of_prompts_is_rejected(soundloom, tiny_model_folder):
    assert soundloom("quantize", tiny_model_folder, "out", "--prompts", -1).code == 2


def test_a_quantized_model_is_rejected(soundloom, tiny_model_folder):
    assert soundloom("convert", tiny_model_folder, "packed", "--layout", "int8").code == 0
    done = soundloom("quantize", "packed", "out", "--bits", 4)
    assert done.code == 2
    assert "is already packed, as int8" in done.err


@pytest.mark.parametrize("bits", ["3", "16"])
def test_other_bits_are_rejected(soundloom, tiny_model_folder, bits):
    assert soundloom("quantize", tiny_model_folder, "out", "--bits", bits).code == 2
