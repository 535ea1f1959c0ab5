"""FP8 matmuls by their reference implementation: quantized factors, each row with its own scale."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.checkpoints.stable_audio.open import open_checkpoint  # noqa: E402
from soundloom.engines.stable_audio import find_component  # noqa: E402
from soundloom.engines.torch.fp8 import LIMIT, Fp8Linear, quantize_rows  # noqa: E402
from soundloom.engines.torch.load import load_module  # noqa: E402
from soundloom.engines.torch.stable_audio.dit import DiT  # noqa: E402


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_rows_are_quantized_to_three_bits_of_mantissa() -> None:
    x = normal(5, 64) * torch.tensor([1e-3, 1, 30, 1e4, 0])[:, None]
    rows, scale = quantize_rows(x)
    assert ((rows.float() * scale - x).abs() <= x.abs() / 16 + scale * 2**-9).all()
    assert (rows[:4].float().abs().amax(-1) == LIMIT).all()


@pytest.mark.parametrize("bias", [True, False])
def test_matmuls_are_those_of_the_quantized_factors(bias: bool) -> None:
    weight, x = normal(32, 48, seed=1), normal(2, 7, 48)
    layer = Fp8Linear(48, 32, bias)
    state = Fp8Linear.quantize(weight) | ({"bias": normal(32, seed=2)} if bias else {})
    layer.load_state_dict(state)
    wanted = x @ weight.t() + (state["bias"] if bias else 0)
    found = layer(x).float()
    assert found.shape == wanted.shape
    assert torch.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.998


def test_velocities_with_fp8_are_close_to_fp32(tiny_model_folder) -> None:
    source = find_component(open_checkpoint(tiny_model_folder), "dit")
    exact, rounded = (
        load_module(lambda: DiT(source.config), source.tensors, source.label, blocks=blocks) for blocks in (None, "fp8")
    )
    assert sum(isinstance(layer, Fp8Linear) for layer in rounded.modules()) == 14
    velocities = []
    for network in (exact, rounded):
        condition = network.condition(normal(1, 9, 64), normal(1, 64, seed=1), torch.zeros(1, 257, 1))
        velocities.append(network(normal(1, 256, 12, seed=2), 0.5, condition).flatten())
    assert 0.99 < torch.cosine_similarity(*velocities, dim=0) < 0.999999
