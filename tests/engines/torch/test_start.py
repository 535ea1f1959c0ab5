"""Generation imports only the parts of PyTorch that it needs."""

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

GENERATE = """
import gc, sys
from soundloom.pipeline.load import load
clip = load(sys.argv[1], device="cpu").generate("rain", seconds=0.2, steps=1, seed=1)
print(clip.audio.shape[0], *sorted({"sympy", "torch._dynamo", "torch._inductor"} & set(sys.modules)))
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def test_generation_imports_no_compiler_and_freezes_imported_objects(tiny_model_folder):
    command = [sys.executable, "-c", GENERATE, str(tiny_model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2", "True True"]
