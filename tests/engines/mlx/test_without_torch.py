"""The complete pipeline without PyTorch, as on a Mac with a default installation."""

import os
import subprocess
import sys

import pytest

from soundloom.testing.stable_audio import make_random

pytest.importorskip("mlx.core", reason="MLX is not installed")

SCRIPT = """
import sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import soundloom

model = soundloom.load(Path(sys.argv[1]), device="cpu")
clip = model.generate("a small bell", seconds=0.5, seed=1, steps=2)
model.vary(clip, "rain", noise=0.5, seed=1, steps=2)
model.inpaint(clip, [(0.1, 0.3)], "rain", seed=1, steps=2)
longer = model.extend(clip, 0.5, "rain", seed=1, steps=2)
model.decode(model.encode(clip))
assert not {"torch", "transformers"} & set(sys.modules)
print(model.engine.name, clip.seconds, longer.seconds)
"""


def test_every_mode_works_without_pytorch_and_without_a_compiler(tmp_path):
    folder = make_random("small-music", tmp_path / "model", size="tiny")
    # MLX caches compiled kernels in the folder for temporary files.
    environment = {**os.environ, "PATH": "", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["mlx", "0.5", "1.0"]
