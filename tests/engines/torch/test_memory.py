from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.engines.torch import memory
from soundloom.engines.torch.stable_audio.engine import TorchEngine


def test_freeing_a_component_unmaps_its_weights(tiny_model_folder: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list the mappings of a process")
    weights = str(tiny_model_folder / "model.safetensors")
    checkpoint = open_checkpoint(tiny_model_folder)
    engine, other_uses = TorchEngine(checkpoint, "cpu"), maps.read_text().count(weights)
    latents = np.zeros((1, 256, 2), np.float32)
    before = engine.decode(latents, None)
    assert maps.read_text().count(weights) > other_uses
    engine.free("decoder")
    assert maps.read_text().count(weights) == other_uses
    np.testing.assert_array_equal(engine.decode(latents, None), before)


def test_an_engine_makes_glibc_keep_freed_memory(tiny_model_folder: Path, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(memory, "_call_glibc", lambda *call: calls.append(call))
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    memory.reuse_freed_memory.cache_clear()
    for _ in range(2):
        TorchEngine(open_checkpoint(tiny_model_folder), "cpu")
    assert calls == [("mallopt", -3, 32 << 20), ("mallopt", -1, 256 << 20)]
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    memory.reuse_freed_memory.cache_clear()
    TorchEngine(open_checkpoint(tiny_model_folder), "cpu")
    assert len(calls) == 2, "the user's thresholds stay"


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_glibc_accepts_the_thresholds() -> None:
    libc = ctypes.CDLL(None)
    assert libc.mallopt(memory._M_MMAP_THRESHOLD, memory.MAX_MMAP_THRESHOLD) == 1
    assert libc.mallopt(memory._M_TRIM_THRESHOLD, memory.TRIM_THRESHOLD) == 1
