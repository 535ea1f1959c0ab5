"""Codes chosen by what layers are given: smaller errors there, and on prompts that were not used to choose them."""

from statistics import fmean

import numpy as np
import pytest

from soundloom.checkpoints.formats.affine import dequantize, quantize
from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.engines.registry import engine_class
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.gptq import apply_gptq, compensate
from soundloom.quantization.policy import pack, uniform_bits
from soundloom.quantization.quantize import QuantizationConfig, quantize_model
from soundloom.quantization.trajectory import Trajectory


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def output_error(weight, codes, bits, group_size, x):
    return float(np.square(x @ (dequantize(codes, bits, group_size).astype(np.float32) - weight).T).sum())


@pytest.mark.parametrize(("bits", "group_size"), [(4, 32), (4, 128), (8, 64)])
def test_inputs_that_go_together_are_multiplied_more_exactly(bits, group_size):
    weight = draw(24, 256).astype(np.float16)
    x = draw(2000, 40, seed=1) @ draw(40, 256, seed=2) + 0.1 * draw(2000, 256, seed=3)
    fitted, held_out = x[:1000], x[1000:]
    plain, compensated = quantize(weight, bits, group_size), compensate(weight, bits, group_size, fitted.T @ fitted)
    assert [part.shape for part in compensated] == [part.shape for part in plain]
    errors = [output_error(weight, codes, bits, group_size, held_out) for codes in (compensated, plain)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("gram", [np.eye(64, dtype=np.float32), np.zeros((64, 64), np.float32)])
def test_inputs_that_have_nothing_in_common_leave_nothing_to_compensate(gram):
    weight = draw(8, 64).astype(np.float16)
    both = quantize(weight, 4, 32), compensate(weight, 4, 32, gram)
    plain, found = (dequantize(codes, 4, 32).astype(np.float32) for codes in both)
    np.testing.assert_allclose(found, plain, atol=2e-3)  # scales are rounded to half precision before, not after


@pytest.fixture(scope="module", params=["torch", "mlx"])
def on_engine(request):
    pytest.importorskip("torch" if request.param == "torch" else "mlx.core")
    build = engine_class(request.param)
    return lambda checkpoint: Model(checkpoint, build(checkpoint, "cpu", "fp32"), keep_loaded=True)


def test_layers_that_see_frames_get_other_codes_and_all_others_keep_theirs(on_engine, tiny_model_folder, monkeypatch):
    monkeypatch.setattr("soundloom.quantization.gptq.PROMPTS", ("wind", "white noise"))
    full = open_checkpoint(tiny_model_folder)
    packed = pack(full.tensors, uniform_bits(full.tensors, 4, 64), 64)
    heard = []
    found = apply_gptq(on_engine(full), packed, lambda done, total: heard.append((done, total)))
    changed = {
        name.removeprefix("model.model.transformer.")
        for name, old in packed.items()
        if isinstance(old, PackedTensor) and (old.packed.numpy() != found[name].packed.numpy()).any()
    }
    layers = ("self_attn.to_qkv", "self_attn.to_out", "cross_attn.to_q", "cross_attn.to_out", "ff.ff.0.proj", "ff.ff.2")
    ends = {"project_in.weight", "project_out.weight"}
    assert changed == ends | {f"layers.{block}.{layer}.weight" for block in (0, 1) for layer in layers}
    assert heard[-1] == (len(changed), len(changed))
    assert {name: (t.bits, t.group_size) for name, t in found.items() if isinstance(t, PackedTensor)} == {
        name: (t.bits, t.group_size) for name, t in packed.items() if isinstance(t, PackedTensor)
    }


def test_a_network_is_as_it_was_after_calibration(on_engine):
    model = on_engine(open_checkpoint("mini"))
    probe = Trajectory.record(model, 0.5, ["rain"])
    apply_gptq(model, pack(model.checkpoint.tensors, uniform_bits(model.checkpoint.tensors, 8, 64), 64))
    assert probe.error(probe.velocities(model.engine)) == 0


def test_mini_loses_less_when_calibrated(tmp_path):
    pytest.importorskip("torch")
    mini = open_checkpoint("mini")

    def on_torch(checkpoint):
        return Model(checkpoint, engine_class("torch")(checkpoint, "cpu", "fp32"), keep_loaded=True)

    report = quantize_model(mini, tmp_path / "out", QuantizationConfig("4", calibrate=True), on_torch)
    assert report.distances.log_mel < 0.8 * report.uncalibrated.log_mel
    assert fmean(report.distances.cosines.values()) > fmean(report.uncalibrated.cosines.values())
    assert any("without calibration, latent after the first step" in line for line in report.lines())
