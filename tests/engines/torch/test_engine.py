import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.engines.torch.blocks import Padding, attend_window
from soundloom.engines.torch.components import choose_device
from soundloom.engines.torch.inference import inference_mode
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.stable_audio.engine import TorchEngine
from soundloom.engines.torch.tensors import to_tensor
from soundloom.errors import CheckpointError, EngineError, MismatchError

SHAPES = (1, 9, 64), (1, 64), (1, 256, 12)  # context, duration and latents of the tiny model


@pytest.mark.parametrize("wanted", ["cuda:2", "cuda:x", "cuda:", "cuda:-1", "cpu:1", "tpu"])
def test_unavailable_devices_are_rejected_with_the_available_ones(monkeypatch, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(name) for name in ("cuda", "cuda:1", "cpu", "cpu:0")] == ["cuda", "cuda:1", "cpu", "cpu:0"]
    with pytest.raises(EngineError, match=f"no device '{wanted}'") as caught:
        choose_device(wanted)
    assert caught.value.hint.startswith("available: cuda:0, cuda:1")


def test_out_of_memory_becomes_an_engine_error_and_other_errors_pass():
    @inference_mode
    def fail(error):
        raise error

    with pytest.raises(EngineError, match=r"not enough memory: .*can't allocate memory"):
        inference_mode(torch.empty)(1 << 60)
    with pytest.raises(EngineError, match="not enough memory: CUDA out of memory"):
        fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    with pytest.raises(RuntimeError, match="of shapes"):
        fail(RuntimeError("a matter of shapes"))


@pytest.mark.parametrize("n", [1, 5, 16, 17, 34, 35, 100, 203])
@pytest.mark.parametrize("window", [1, 8, 17])
def test_windowed_attention_equals_attention_under_a_band_mask(n, window):
    q, k, v = torch.randn(3, 2, 3, n, 8, generator=torch.Generator().manual_seed(n))
    place = torch.arange(n)
    band = (place[:, None] - place).abs() <= window
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=band)
    torch.testing.assert_close(attend_window(q, k, v, window), wanted, atol=2e-6, rtol=0)


def test_masked_padding_equals_no_padding(tiny_model):
    engine = tiny_model.engine
    rng = np.random.default_rng(0)
    dit = engine.module("dit")
    context, duration, x = (torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for shape in SHAPES)
    condition = dit.condition(context, duration, torch.zeros(1, 257, 1))
    valid = torch.arange(12)[None] < 8
    t = torch.tensor([0.4])
    with torch.inference_mode():
        masked = dit(x, t, condition, Padding(valid))[..., :8]
        cut = dit(x[..., :8], t, condition)
        zeroed = dit(x, t, condition, Padding(valid, "zero-values"))[..., :8]
    torch.testing.assert_close(masked, cut, atol=2e-5, rtol=0)
    assert (zeroed - cut).abs().max() > 1e-4


def test_single_precision_weights_are_views_of_the_file(tiny_model_folder):
    tensors = read_safetensors(tiny_model_folder / "model.safetensors")
    lazy = tensors["model.model.transformer.project_in.weight"]
    assert to_tensor(lazy).data_ptr() == lazy.buffer().ctypes.data


def one_linear(tmp_path, dtype=torch.float32, **arrays):
    path = tmp_path / "one.safetensors"
    write_safetensors(path, [from_array(name, np.asarray(array, np.float32)) for name, array in arrays.items()])
    return lambda: load_module(lambda: torch.nn.Linear(2, 1), read_safetensors(path), "the layer", dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_rejected(tmp_path, value, dtype):
    with pytest.raises(CheckpointError, match="weight contains values that are not finite"):
        one_linear(tmp_path, dtype, weight=[[1, value]], bias=[0])()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_may_be_as_large_as_their_dtype_allows(tmp_path, dtype):
    largest = min(torch.finfo(dtype).max / 2, 1e30)
    assert one_linear(tmp_path, dtype, weight=[[largest, largest]], bias=[0])().weight.isfinite().all()


@pytest.mark.parametrize(
    "arrays",
    [
        {"weight": [[1, 2]]},
        {"weight": [[1, 2]], "bias": [0], "extra": [0]},
        {"weight": [[1, 2, 3]], "bias": [0]},
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_names_and_shapes_must_match(tmp_path, arrays):
    with pytest.raises(MismatchError, match="the layer"):
        one_linear(tmp_path, **arrays)()


def test_half_precision_is_close_to_float32(tiny_model_folder):
    checkpoint = open_checkpoint(tiny_model_folder)
    rng = np.random.default_rng(0)
    context, duration, x = (rng.standard_normal(shape).astype(np.float32) for shape in SHAPES)
    found = {}
    for precision in ("fp32", "bf16", "fp16"):
        engine = TorchEngine(checkpoint, "cpu", precision)
        arrays = [engine.array(a) for a in (context, duration, np.zeros((1, 257, 1), np.float32))]
        found[precision] = engine.velocity(engine.array(x), 0.5, engine.condition(*arrays), None)
        assert engine.module("dit").transformer.project_in.weight.dtype == getattr(
            torch, {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[precision]
        )
    for precision, limit in (("bf16", 0.03), ("fp16", 0.004)):
        error = (found[precision] - found["fp32"]).norm() / found["fp32"].norm()
        assert 0 < error < limit


@pytest.mark.parametrize(("device", "precision"), [("cuda:7", "auto"), ("tpu", "auto"), ("cpu", "fp8")])
def test_unsupported_devices_and_precisions_are_named(tiny_model_folder, device, precision):
    with pytest.raises(EngineError, match=f"{device}|{precision}"):
        TorchEngine(open_checkpoint(tiny_model_folder), device, precision)


def test_the_engine_describes_what_is_in_use(tiny_model):
    assert {"device", "attention", "transformer", "autoencoder"} <= set(tiny_model.engine.describe())
