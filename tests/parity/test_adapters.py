"""Adapters give the same clip on both engines, and on MLX what they give on PyTorch: gates, stacks, merges, removal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import soundloom
from soundloom.config.stable_audio.adapters import AdapterUse
from soundloom.errors import RequestError
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights, module_shapes
from soundloom.testing.adapters import make_adapter
from soundloom.testing.stable_audio import make_random

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("mlx.core", reason="MLX is not installed")

TYPES = ("dora-rows", "bora", "lora-xs")
LAYERS = ("core", "local", "embeds", "seconds")
ENGINES = ("torch", "mlx")
SAME, OTHER = 100, 50  # signal-to-noise ratios of equal and of different clips, in decibels


@pytest.fixture(scope="module", params=["published", "int4"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a tiny model on both engines."""
    folder = make_random("small-music", tmp_path_factory.mktemp("model"), layout=request.param, size="tiny")
    options = {"device": "cpu", "precision": "fp32", "keep_loaded": True}
    return {engine: soundloom.load(folder, engine=engine, **options) for engine in ENGINES}


@pytest.fixture(scope="module")
def files(models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    checkpoint, folder = models["mlx"].checkpoint, tmp_path_factory.mktemp("adapters")
    shapes, weights = module_shapes(checkpoint.config), base_weights(checkpoint)
    paths = [folder / f"{kind}.safetensors" for kind in TYPES]
    for seed, (path, kind) in enumerate(zip(paths, TYPES, strict=True)):
        write_adapter(path, make_adapter(shapes, kind, seed, LAYERS, weights=weights), dtype="F32")
    return paths


def render(model: Any, loras: Any = None) -> np.ndarray:
    return model.generate("rain", seconds=0.4, seed=5, steps=3, loras=loras).audio.astype(np.float64)


def snr(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()))


def test_a_stack_with_a_gate_gives_the_same_clip(models: dict[str, Any], files: list[Path]) -> None:
    rows, bora, xs = map(str, files)
    stack = [AdapterUse(rows, 0.7), AdapterUse(bora, 0.5, steps=(2, 3)), AdapterUse(xs, 0.5, sigma=(0.0, 0.95))]
    clips = [render(models[engine], stack) for engine in ENGINES]
    assert snr(*clips) > SAME
    assert snr(render(models["mlx"], stack[:1]), clips[1]) < OTHER  # the others change the clip


def test_adapters_leave_no_trace_on_mlx(models: dict[str, Any], files: list[Path]) -> None:
    model = models["mlx"]
    base = render(model)
    model.add_lora(files[0], 0.8)
    beside = render(model)
    assert snr(beside, base) < OTHER
    np.testing.assert_array_equal(render(model, {str(files[0]): 0.0}), base)
    model.clear_loras()
    np.testing.assert_array_equal(render(model), base)


def test_a_merge_on_mlx_equals_the_branches_and_is_undone(models: dict[str, Any], files: list[Path]) -> None:
    model = models["mlx"]
    base = render(model)
    model.add_lora(files[1], 0.8)
    if model.checkpoint.layout == "int4":
        with pytest.raises(RequestError, match="quantized"):
            model.merge_loras()
        model.clear_loras()
        return
    beside = render(model)
    model.merge_loras()
    assert snr(render(model), beside) > SAME
    model.unmerge_loras()
    np.testing.assert_array_equal(render(model), beside)
    model.clear_loras()
    np.testing.assert_array_equal(render(model), base)
