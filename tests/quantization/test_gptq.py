"""GPTQ reduces errors on calibration inputs and on held-out prompts."""

from statistics import fmean

import numpy as np
import pytest

from soundloom.checkpoints.formats.affine import dequantize, quantize
from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.engines.registry import engine_class
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.gptq import apply_gptq, quantize_gptq
from soundloom.quantization.policy import pack, uniform_bits
from soundloom.quantization.quantize import QuantizationConfig, quantize_model
from soundloom.quantization.trajectory import Trajectory


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def output_error(weight, quantized, bits, group_size, x):
    return float(np.square(x @ (dequantize(quantized, bits, group_size).astype(np.float32) - weight).T).sum())


@pytest.mark.parametrize(("bits", "group_size"), [(4, 32), (4, 128), (8, 64)])
def test_gptq_halves_the_error_for_correlated_inputs(bits, group_size):
    weight = normal(24, 256).astype(np.float16)
    x = normal(2000, 40, seed=1) @ normal(40, 256, seed=2) + 0.1 * normal(2000, 256, seed=3)
    fitted, held_out = x[:1000], x[1000:]
    plain, gptq = quantize(weight, bits, group_size), quantize_gptq(weight, bits, group_size, fitted.T @ fitted)
    assert [part.shape for part in gptq] == [part.shape for part in plain]
    errors = [output_error(weight, quantized, bits, group_size, held_out) for quantized in (gptq, plain)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("hessian", [np.eye(64, dtype=np.float32), np.zeros((64, 64), np.float32)])
def test_gptq_equals_rounding_for_uncorrelated_inputs(hessian):
    weight = normal(8, 64).astype(np.float16)
    both = quantize(weight, 4, 32), quantize_gptq(weight, 4, 32, hessian)
    plain, found = (dequantize(quantized, 4, 32).astype(np.float32) for quantized in both)
    np.testing.assert_allclose(found, plain, atol=2e-3)  # scales are rounded to half precision earlier


@pytest.fixture(scope="module", params=["torch", "mlx"])
def on_engine(request):
    pytest.importorskip("torch" if request.param == "torch" else "mlx.core")
    build = engine_class(request.param)
    return lambda checkpoint: Model(checkpoint, build(checkpoint, "cpu", "fp32"), keep_loaded=True)


def test_only_layers_with_frame_inputs_are_requantized(on_engine, tiny_model_folder, monkeypatch):
    monkeypatch.setattr("soundloom.quantization.gptq.PROMPTS", ("wind", "white noise"))
    full = open_checkpoint(tiny_model_folder)
    packed = pack(full.tensors, uniform_bits(full.tensors, 4, 64), 64)
    calls = []
    result = apply_gptq(on_engine(full), packed, lambda event: calls.append((event.step, event.steps)))
    changed = {
        name.removeprefix("model.model.transformer.")
        for name, old in packed.items()
        if isinstance(old, PackedTensor) and (old.packed.numpy() != result[name].packed.numpy()).any()
    }
    layers = ("self_attn.to_qkv", "self_attn.to_out", "cross_attn.to_q", "cross_attn.to_out", "ff.ff.0.proj", "ff.ff.2")
    projections = {"project_in.weight", "project_out.weight"}
    assert changed == projections | {f"layers.{block}.{layer}.weight" for block in (0, 1) for layer in layers}
    assert calls[-1] == (len(changed), len(changed))
    assert {name: (t.bits, t.group_size) for name, t in result.items() if isinstance(t, PackedTensor)} == {
        name: (t.bits, t.group_size) for name, t in packed.items() if isinstance(t, PackedTensor)
    }


def test_calibration_leaves_the_network_unchanged(on_engine, monkeypatch):
    monkeypatch.setattr("soundloom.quantization.gptq.PROMPTS", ("wind",))
    monkeypatch.setattr("soundloom.quantization.gptq.SECONDS", 1.0)
    model = on_engine(open_checkpoint("mini"))
    trajectory = Trajectory.record(model, 0.5, ["rain"])
    apply_gptq(model, pack(model.checkpoint.tensors, uniform_bits(model.checkpoint.tensors, 8, 64), 64))
    assert trajectory.error(model.engine) == 0


def test_calibration_reduces_the_distances_of_mini(tmp_path):
    pytest.importorskip("torch")
    mini = open_checkpoint("mini")

    def on_torch(checkpoint):
        return Model(checkpoint, engine_class("torch")(checkpoint, "cpu", "fp32"), keep_loaded=True)

    report = quantize_model(mini, tmp_path / "out", QuantizationConfig("4", calibrate=True), on_torch)
    assert report.distances.log_mel < 0.8 * report.uncalibrated.log_mel
    assert fmean(report.distances.cosines.values()) > fmean(report.uncalibrated.cosines.values())
    assert any("without calibration, latent after the first step" in line for line in report.lines())
