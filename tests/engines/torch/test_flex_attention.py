"""FlexAttention against the reference implementation; on a CPU it runs uncompiled, with the same masks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.engines.torch import blocks  # noqa: E402
from soundloom.engines.torch import flex_attention as flex  # noqa: E402
from soundloom.engines.torch.blocks import DyT, RotaryEmbedding, SelfAttention  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "window"), [(50, 7), (130, 17), (9, 20)])
def test_flex_attention_equals_the_reference_window(n: int, window: int) -> None:
    q, k, v = (normal(2, 3, n, 16, seed=seed) for seed in range(3))
    with torch.no_grad():
        torch.testing.assert_close(flex.attend_window(q, k, v, window), blocks.attend_window(q, k, v, window))


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("differential", [True, False])
def test_self_attention_is_equal_with_fused_kernels(monkeypatch, items: int, differential: bool) -> None:
    layer, x = SelfAttention(64, 32, DyT, differential).requires_grad_(False), normal(items, 41, 64)
    rotary = RotaryEmbedding.table(41, 32, "cpu")
    plain = layer(x, rotary, window=5)
    calls = []
    monkeypatch.setattr(blocks, "is_fused", lambda v: calls.append(v) or True)
    torch.testing.assert_close(layer(x, rotary, window=5), plain)
    assert calls
