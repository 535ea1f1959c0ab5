"""Fused operations on a CPU equal their reference implementations."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from torch.nn import functional as F  # noqa: E402

from soundloom.checkpoints.stable_audio.open import open_checkpoint  # noqa: E402
from soundloom.engines.torch.blocks import DyT, Linear, RotaryEmbedding, apply_rotary, rms_norm  # noqa: E402
from soundloom.engines.torch.int8 import MAX_BLOCK, HadamardInt8Linear, Int8Linear, channel_blocks  # noqa: E402
from soundloom.engines.torch.precision import has_int8  # noqa: E402
from soundloom.engines.torch.stable_audio.engine import TorchEngine  # noqa: E402


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_equals_that_of_torch(dtype: torch.dtype) -> None:
    x, gain = (normal(2, 5, 96) * 30).to(dtype), normal(96, seed=1)
    plain = F.rms_norm(x.float(), (96,), gain, 1e-5).to(dtype)
    with torch.no_grad():
        torch.testing.assert_close(rms_norm(x, gain, 1e-5), plain)


def test_apply_rotary_rotates_pairs_and_passes_the_rest() -> None:
    x = normal(1, 2, 7, 24)
    angles = torch.arange(7.0)[:, None] * 10_000.0 ** (-torch.arange(0, 16, 2) / 16)
    pairs = torch.complex(x[..., :8], x[..., 8:16]) * torch.polar(torch.ones_like(angles), angles)
    wanted = torch.cat([pairs.real, pairs.imag, x[..., 16:]], dim=-1)
    torch.testing.assert_close(apply_rotary(x, RotaryEmbedding.table(7, 16, "cpu")), wanted)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_gates_equal_matmuls_then_gates(dtype: torch.dtype, tolerance: float, bias: bool) -> None:
    layer, x = Linear(48, 2 * 40, bias=bias).requires_grad_(False), normal(3, 9, 48)
    value, gate = layer(x).chunk(2, dim=-1)
    with torch.no_grad():
        found = layer.to(dtype).silu_gated(x)
    torch.testing.assert_close(found.float(), value * F.silu(gate), rtol=tolerance, atol=tolerance)


def int8_layer(cls: type[Int8Linear], inputs: int, outputs: int, bias: bool, **options: int) -> Int8Linear:
    layer = cls(inputs, outputs, bias, **options)
    state = layer.quantize(normal(outputs, inputs, seed=1)) | ({"bias": normal(outputs, seed=2)} if bias else {})
    layer.load_state_dict(state)
    return layer


@pytest.mark.skipif(not has_int8(), reason="this processor has no INT8 dot products")
@pytest.mark.parametrize("outputs", [2 * MAX_BLOCK, 3 * 2 * 768, MAX_BLOCK + 90, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_prepacked_int8_layers_give_equal_outputs(outputs: int, bias: bool) -> None:
    layer, x = int8_layer(Int8Linear, 96, outputs, bias, parts=2), normal(2, 5, 96)
    plain, plain_gated = layer(x), torch.cat(list(layer.gated_blocks(x, F.silu)), dim=-1).view(2, 5, -1)
    layer.prepack()
    assert sum(tensor.nbytes for tensor in layer.state_dict().values()) >= outputs * 96
    torch.testing.assert_close(layer(x), plain)
    torch.testing.assert_close(torch.cat(list(layer.gated_blocks(x, F.silu)), dim=-1).view(2, 5, -1), plain_gated)
    value, gate = plain.chunk(2, dim=-1)
    torch.testing.assert_close(torch.cat(layer.split(x), dim=-1), plain)
    torch.testing.assert_close(plain_gated, value * F.silu(gate))


@pytest.mark.skipif(not has_int8(), reason="this processor has no INT8 dot products")
@pytest.mark.parametrize("inputs", [2 * MAX_BLOCK, 2304, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_prepacked_hadamard_layers_give_equal_outputs(inputs: int, bias: bool) -> None:
    layer, x = int8_layer(HadamardInt8Linear, inputs, 24, bias), normal(2, 5, inputs)
    before, plain = x.clone(), layer(x)
    layer.prepack()
    torch.testing.assert_close(layer(x), plain)
    assert torch.equal(x, before), "a call must not change its input"


def test_a_hadamard_transform_lowers_the_error_of_inputs_with_outliers() -> None:
    weight, x = normal(32, 1024, seed=1), normal(20, 1024) * F.silu(normal(20, 1024, seed=2)) * 3
    exact, errors = x @ weight.t(), []
    for cls in (Int8Linear, HadamardInt8Linear):
        layer = cls(1024, 32, bias=False)
        layer.load_state_dict(cls.quantize(weight))
        errors.append(float((layer(x) - exact).norm() / exact.norm()))
    plain, transformed = errors
    assert transformed < 0.012
    assert transformed < 0.7 * plain


def test_channel_blocks_are_equal_and_cover_all_channels() -> None:
    assert [len(channel_blocks(n)) for n in (1024, 4096, 2304, 4608, 40, 1114)] == [1, 4, 3, 6, 1, 1]
    for channels in (4096, 2304, 1114):
        blocks = channel_blocks(channels)
        assert [c for block in blocks for c in range(block.start, block.stop)] == list(range(channels))


def test_dyt_by_a_sigmoid_is_close_to_tanh() -> None:
    layer, x = DyT(24).requires_grad_(False), normal(5, 24) * torch.tensor([1e-5, 1e-2, 1, 3, 100])[:, None]
    layer.gamma.copy_(normal(24, seed=1))
    layer.beta.copy_(normal(24, seed=2))
    exact = layer(x)
    layer.exact = False
    torch.testing.assert_close(layer(x), exact, rtol=0, atol=1e-6)


def test_repeated_tokens_and_precomputed_times_give_equal_velocities(tiny_model_folder) -> None:
    engine = TorchEngine(open_checkpoint(tiny_model_folder), "cpu", "fp32")
    context, duration, local = normal(2, 9, 64), normal(2, 64, seed=1), torch.zeros(1, 257, 1)
    context[:, 3:8] = normal(1, 1, 64, seed=2)  # five equal tokens before the duration
    x = normal(2, 256, 12, seed=3)
    whole = engine.condition(context, duration, local)
    short = engine.condition(context[:, [0, 1, 2, 3, 8]], duration, local, repeats=5, times=[0.7, 0.5])
    assert list(short.modulations) == [0.7, 0.5]
    torch.testing.assert_close(
        engine.velocity(x, 0.5, short, None), engine.velocity(x, 0.5, whole, None), rtol=1e-4, atol=1e-5
    )
    assert (engine.velocity(x, 0.7, short, None) - engine.velocity(x, 0.5, whole, None)).abs().max() > 1e-3
