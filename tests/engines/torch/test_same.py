"""Groups of chunks in the SAME-S autoencoder on a CPU."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.checkpoints.stable_audio.open import open_checkpoint  # noqa: E402
from soundloom.engines.torch import memory  # noqa: E402
from soundloom.engines.torch.stable_audio import same  # noqa: E402
from soundloom.engines.torch.stable_audio.engine import TorchEngine  # noqa: E402


@pytest.mark.parametrize("tokens", [1, 34, 34 * 3, 34 * 5 + 7])
@pytest.mark.parametrize(("batch", "latents"), [(1, 2), (1, 7), (2, 12)])
def test_results_do_not_depend_on_the_size_of_groups(
    tiny_model_folder, monkeypatch, tokens: int, batch: int, latents: int
) -> None:
    engine = TorchEngine(open_checkpoint(tiny_model_folder), "cpu", "fp32")
    random = np.random.default_rng(0)
    codes = random.standard_normal((batch, 256, latents), np.float32)
    audio = random.standard_normal((batch, 2, latents * 4096 - 100), np.float32)
    assert same.group_tokens(64) > 34 * 7, "all chunks of this test are one group unless patched"
    whole = engine.decode(codes, None), engine.encode(audio, None)
    monkeypatch.setattr(same, "group_tokens", lambda width: tokens)
    grouped = engine.decode(codes, None), engine.encode(audio, None)
    for found, wanted in zip(grouped, whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_groups_are_smaller_for_wide_networks_and_small_caches(monkeypatch) -> None:
    monkeypatch.setattr(same, "last_level_cache", lambda: 32 << 20)
    assert same.group_tokens(768) == 546
    assert same.group_tokens(1536) == 273
    monkeypatch.setattr(same, "last_level_cache", lambda: 1)
    assert same.group_tokens(768) == 1


def test_an_unknown_cache_has_a_default_size(monkeypatch) -> None:
    assert memory.last_level_cache() >= 1 << 18
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 0)
    assert memory.last_level_cache.__wrapped__() == memory.DEFAULT_CACHE
