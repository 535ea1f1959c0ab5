"""INT8 matmuls: exact sums of quantized factors, with outputs close to float32."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from torch import nn  # noqa: E402

from soundloom.checkpoints.stable_audio.open import open_checkpoint  # noqa: E402
from soundloom.engines.torch import precision  # noqa: E402
from soundloom.engines.torch.int8 import Int8Linear  # noqa: E402
from soundloom.engines.torch.int8_arithmetic import quantize_rows  # noqa: E402
from soundloom.engines.torch.precision import Precision  # noqa: E402
from soundloom.engines.torch.stable_audio import engine as engine_module  # noqa: E402
from soundloom.engines.torch.stable_audio.engine import TorchEngine  # noqa: E402
from soundloom.errors import EngineError  # noqa: E402
from soundloom.testing.stable_audio import make_random  # noqa: E402


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def int8_of(linear: nn.Linear) -> Int8Linear:
    layer = Int8Linear(linear.in_features, linear.out_features, linear.bias is not None)
    bias = {} if linear.bias is None else {"bias": linear.bias.detach()}
    layer.load_state_dict(Int8Linear.quantize(linear.weight.detach()) | bias, strict=True)
    return layer


def test_rows_are_quantized_to_half_a_step_of_their_own_scale() -> None:
    x = normal(5, 64) * torch.tensor([1e-3, 1, 30, 1e4, 0])[:, None]
    rows, scale = quantize_rows(x)
    assert rows.dtype == torch.int8
    assert ((rows * scale - x).abs() <= scale * 0.5001).all()
    assert (rows[:4].abs().amax(-1) == 127).all()


@pytest.mark.parametrize("bias", [True, False])
def test_matmuls_are_those_of_the_quantized_factors(bias: bool) -> None:
    linear, x = nn.Linear(96, 40, bias=bias).requires_grad_(False), normal(2, 7, 96)
    weight, weight_scale = quantize_rows(linear.weight)
    rows, scale = quantize_rows(x.view(-1, 96))
    wanted = (rows.double() * scale) @ (weight.double() * weight_scale).t() + (linear.bias if bias else 0)
    torch.testing.assert_close(int8_of(linear)(x).double(), wanted.view(2, 7, 40), rtol=1e-5, atol=1e-6)


def test_only_layers_in_blocks_are_quantized(tiny_model_folder) -> None:
    dit = TorchEngine(open_checkpoint(tiny_model_folder), "cpu", "int8").module("dit")
    rounded = {name for name, layer in dit.named_modules() if isinstance(layer, Int8Linear)}
    block = {"self_attn.to_qkv", "self_attn.to_out", "cross_attn.to_q", "cross_attn.to_kv", "cross_attn.to_out",
             "ff.ff.0.proj", "ff.ff.2"}  # fmt: skip
    assert rounded == {f"transformer.layers.{i}.{name}" for i in range(2) for name in block}


@pytest.mark.parametrize(("name", "cosine"), [("int8", 0.999), ("bf16", 0.9998)])
def test_velocities_in_low_precision_are_close_to_fp32(tiny_model_folder, name: str, cosine: float) -> None:
    found = {}
    inputs = normal(1, 9, 64).numpy(), normal(1, 64, seed=1).numpy(), torch.zeros(1, 257, 1).numpy()
    for precision_name in (name, "fp32"):
        engine = TorchEngine(open_checkpoint(tiny_model_folder), "cpu", precision_name)
        condition = engine.condition(*map(engine.array, inputs))
        found[precision_name] = engine.velocity(normal(1, 256, 12, seed=2), 0.5, condition, None).flatten()
    assert cosine < torch.cosine_similarity(found[name], found["fp32"], dim=0) < 1


@pytest.mark.parametrize(("family", "differential"), [("small-music", False), ("medium", True)])
def test_attention_uses_bf16_with_amx_unless_differential(
    tmp_path, monkeypatch, family: str, differential: bool
) -> None:
    monkeypatch.setattr(engine_module, "has_bf16", lambda: True)
    checkpoint = open_checkpoint(make_random(family, tmp_path / family, size="tiny"))
    dit = checkpoint.config.dit
    assert dit.differential == differential
    inputs = normal(1, 9, dit.cond_token_dim), normal(1, dit.global_cond_dim, seed=1)
    found = {}
    for name, has_amx in (("fp32", True), ("bf16", False), ("bf16", True)):
        monkeypatch.setattr(engine_module, "has_amx", lambda has_amx=has_amx: has_amx)
        engine = TorchEngine(checkpoint, "cpu", name)
        condition = engine.condition(*inputs, torch.zeros(1, dit.local_add_cond_dim, 1))
        found[name, has_amx] = engine.velocity(normal(1, dit.io_channels, 12, seed=2), 0.5, condition, None).flatten()
        assert ("in bf16 unless" in engine.describe()["attention"]) == (name == "bf16" and has_amx)
    plain, narrow = found["bf16", False], found["bf16", True]
    assert torch.equal(plain, narrow) == differential
    assert torch.cosine_similarity(narrow, found["fp32", True], dim=0) > 0.9998


@pytest.mark.skipif(not precision.has_bf16(), reason="this processor does not multiply BF16 natively")
def test_the_error_of_a_bf16_autoencoder_is_below_minus_40_db(tmp_path) -> None:
    checkpoint = open_checkpoint(make_random("same-l", tmp_path / "same-l", size="tiny"))
    latents = normal(1, 256, 6).numpy()
    exact, bf16 = (TorchEngine(checkpoint, "cpu", name).decode(latents, None) for name in ("fp32", "bf16"))
    error_db = 20 * torch.log10(torch.tensor(((bf16 - exact) ** 2).mean() ** 0.5 / (exact**2).mean() ** 0.5))
    assert -120 < error_db < -40


@pytest.mark.parametrize(
    ("native", "width", "chosen"),
    [
        ((True, True), 1024, "int8"),
        ((False, True), 1024, "int8"),
        ((True, False), 1024, "bf16"),
        ((False, False), 1024, "fp32"),
        ((True, True), 192, "fp32"),
    ],
)
def test_auto_chooses_native_precision_for_wide_models(monkeypatch, native, width: int, chosen: str) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda: native[0])
    monkeypatch.setattr(precision, "has_int8", lambda: native[1])
    assert Precision.choose("auto", "cpu", width).name == chosen


def test_auto_follows_the_preferred_order(monkeypatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    monkeypatch.setattr(precision, "has_int8", lambda: True)
    assert Precision.choose("auto", "cpu", 1024, precision.MOST_EXACT).name == "bf16"


@pytest.mark.parametrize(("name", "device"), [("int8", "mps"), ("fp8", "cpu"), ("fp8", "mps")])
def test_unsupported_precisions_are_rejected(name: str, device: str) -> None:
    with pytest.raises(EngineError, match=f"{name} runs on .*, not on {device}"):
        Precision.choose(name, device, 1024)


def test_int8_is_available_on_gpus() -> None:
    assert Precision.choose("int8", "cuda", 1024).blocks == "int8"
