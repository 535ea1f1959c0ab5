from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.checkpoints.stable_audio.open import open_checkpoint
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


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_large_tensors_reuse_freed_memory() -> None:
    script = (
        "import resource, torch; from soundloom.engines.torch.memory import malloc_trim, reuse_freed_memory\n"
        "reuse_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "sizes = [5 << 20] * 4\n"
        "for i in range(6):\n"
        "    before = faults(); kept = [torch.ones(n) for n in sizes]; del kept\n"
        "    print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second, *_ = map(int, done.stdout.split())
    assert first > 10_000
    assert second < first / 20
