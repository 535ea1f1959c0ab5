"""Evaluations, copies to the host and memory of sampling and decoding on MLX."""

from contextlib import contextmanager

import numpy as np
import pytest

import soundloom
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.errors import EngineError
from soundloom.pipeline.stable_audio.chunks import decode_latents

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.stable_audio.engine import MLXEngine  # noqa: E402 (needs MLX)


@pytest.fixture
def engine(tiny_model_folder):
    return MLXEngine(open_checkpoint(tiny_model_folder), "cpu")


@contextmanager
def counted(monkeypatch, owner, name):
    """Count the calls of a function inside the block."""
    calls, function = [], getattr(owner, name)

    def call(*args):
        calls.append(name)
        return function(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, call)
        yield calls


@pytest.mark.parametrize(
    ("message", "kind", "sentence"),
    [
        ("[metal::malloc] Attempting to allocate 99 bytes which is too much", EngineError, "not enough memory: "),
        ("[matmul] of shapes", RuntimeError, "of shapes"),
    ],
)
def test_out_of_memory_becomes_an_engine_error_and_other_errors_pass(engine, monkeypatch, message, kind, sentence):
    def fail(*args):
        raise RuntimeError(message)

    monkeypatch.setattr(mx, "eval", fail)
    with pytest.raises(kind, match=sentence):
        engine.evaluate(mx.zeros(1))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_each_step_is_evaluated_once_without_copies_to_the_host(tiny_model_folder, monkeypatch, guidance):
    model = soundloom.load(tiny_model_folder, engine="mlx", device="cpu", keep_loaded=True)
    model.generate("rain", seconds=0.5, seed=1, steps=1, guidance=guidance)  # loads the networks
    counts = {}
    for steps in (2, 5):
        with (
            counted(monkeypatch, mx, "eval") as evaluations,
            counted(monkeypatch, MLXEngine, "numpy") as copies,
        ):
            model.generate("rain", seconds=0.5, seed=1, steps=steps, guidance=guidance)
        counts[steps] = len(evaluations), len(copies)
    assert counts[5][0] - counts[2][0] == 3
    assert counts[5][1] == counts[2][1] == 2  # latents and audio


def peak_of(function):
    mx.clear_cache()
    mx.reset_peak_memory()
    function()
    return mx.get_peak_memory()


def test_decoding_memory_does_not_grow_with_length(engine):
    config = engine.checkpoint.config
    engine.load("decoder")
    channels = config.model.io_channels

    def decode(frames):
        return peak_of(lambda: decode_latents(engine, config, np.ones((1, channels, frames), np.float32)))

    short, long = decode(128), decode(512)
    assert long < 1.3 * short


def test_components_are_freed_one_by_one(engine):
    engine.free()  # clears the cache of earlier tests
    empty = mx.get_active_memory()
    for component in ("dit", "decoder"):
        engine.load(component)
        assert mx.get_active_memory() - empty >= engine.weight_bytes(component)
        engine.free(component)
        assert mx.get_active_memory() - empty < 1 << 16
        assert mx.get_cache_memory() == 0
