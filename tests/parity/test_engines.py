"""Both engines have the same parameters, outputs and generated clips."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest

import soundloom
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.config.catalogue import CATALOGUE, PUBLISHED_TEXT_ENCODER
from soundloom.testing.stable_audio import make_random, tiny_config, tiny_text_encoder
from tests.parity.adapter import ADAPTERS

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
mx = pytest.importorskip("mlx.core", reason="MLX is not installed")

from soundloom.engines.mlx.load import named_parameters  # noqa: E402 (needs MLX)

PEAK_TOLERANCE = 1e-4
SNR = 60  # decibels
PLAIN, DIFFERENTIAL = (tiny_config(CATALOGUE[name].parsed_config()) for name in ("small-music", "medium"))
NETWORKS = {
    "plain transformer": ("stable_audio.dit", "DiT", PLAIN.dit),
    "differential transformer": ("stable_audio.dit", "DiT", DIFFERENTIAL.dit),
    "chunked autoencoder": ("stable_audio.same", "SAME", PLAIN.same),
    "sliding autoencoder": ("stable_audio.same", "SAME", DIFFERENTIAL.same),
    "conditioner": ("stable_audio.conditioner", "Conditioner", PLAIN.model.conditioning),
    "text encoder": ("stable_audio.t5gemma", "T5GemmaEncoder", tiny_text_encoder(PUBLISHED_TEXT_ENCODER)),
}


def build(engine, network):
    file, cls, config = NETWORKS[network]
    return getattr(import_module(f"soundloom.engines.{engine}.{file}"), cls)(config)


@pytest.fixture
def on_both_engines():
    """Build a network with the same random weights on both engines; return pairs of adapter and network."""

    def make(network):
        torch.manual_seed(0)
        weights = {
            name: from_array(name, tensor.detach().numpy())
            for name, tensor in build("torch", network).state_dict().items()
        }
        adapters = [ADAPTERS[engine]() for engine in ("torch", "mlx")]
        return [(each, each.build(partial(build, each.name, network), weights, network)) for each in adapters]

    with torch.inference_mode():
        yield make


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def assert_equal_outputs(first, second):
    assert first.shape == second.shape
    assert np.abs(first).max() > 0
    assert np.abs(first - second).max() <= PEAK_TOLERANCE * np.abs(first).max()


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_have_the_same_names_and_shapes(network):
    of_torch = {name: tuple(tensor.shape) for name, tensor in build("torch", network).state_dict().items()}
    of_mlx = {name: tuple(array.shape) for name, array in named_parameters(build("mlx", network)).items()}
    assert of_mlx == of_torch


@pytest.mark.parametrize("frames", [6, 11])
@pytest.mark.parametrize("padding_mode", [None, "mask", "zero-values"])
@pytest.mark.parametrize("kind", ["plain", "differential"])
def test_velocities_are_equal(on_both_engines, kind, padding_mode, frames):
    config = NETWORKS[f"{kind} transformer"][2]
    valid = np.arange(frames) < np.array([[frames], [frames - 2]])
    found = []
    for engine, dit in on_both_engines(f"{kind} transformer"):
        cond = dit.condition(
            engine.array(normal(2, 9, config.cond_token_dim)),
            engine.array(normal(2, config.global_cond_dim)),
            engine.array(normal(2, config.local_add_cond_dim, frames)),
        )
        padding = padding_mode and engine.module("blocks").Padding(engine.array(valid), padding_mode)
        x, t = engine.array(normal(2, config.io_channels, frames)), engine.array(np.float32([0.9, 0.3]))
        found.append(engine.numpy(dit(x, t, cond, padding)))
    assert_equal_outputs(*found)


@pytest.mark.parametrize("kind", ["chunked", "sliding"])
def test_latents_and_audio_are_equal(on_both_engines, kind):
    latents, audio = [], []
    for engine, same in on_both_engines(f"{kind} autoencoder"):
        latents.append(engine.numpy(same.encode(engine.array(normal(1, 2, 5 * 4096 - 100)))))
        audio.append(engine.numpy(same.decode(engine.array(normal(2, same.config.latent_dim, 5)))))
    assert_equal_outputs(*latents)
    assert_equal_outputs(*audio)


def test_text_embeddings_are_equal(on_both_engines):
    ids, mask = np.arange(18).reshape(2, 9), np.arange(9) < np.array([[9], [4]])
    assert_equal_outputs(
        *(
            engine.numpy(encoder(engine.array(ids), engine.array(mask)))
            for engine, encoder in on_both_engines("text encoder")
        )
    )


def test_contexts_and_durations_are_equal(on_both_engines):
    text, mask, seconds = normal(2, 9, PLAIN.model.conditioning.cond_dim), np.arange(9) < [[9], [4]], [0.3, 500.0]
    contexts, durations = [], []
    for engine, conditioner in on_both_engines("conditioner"):
        context, duration = conditioner(*map(engine.array, (text, mask, np.float32(seconds))))
        contexts.append(engine.numpy(context))
        durations.append(engine.numpy(duration))
    assert_equal_outputs(*contexts)
    assert_equal_outputs(*durations)


@pytest.mark.parametrize("name", ["small-music", "medium"])
def test_a_seed_gives_the_same_clip_on_both_engines(tmp_path, name):
    folder = make_random(name, tmp_path, size="tiny")
    clips = [
        soundloom.load(folder, engine=engine, device="cpu", precision="fp32").generate(
            "a small bell", seconds=1.0, seed=7, steps=2, guidance=2.0, negative_prompt="rain"
        )
        for engine in ("torch", "mlx")
    ]
    first, second = (clip.audio.astype(np.float64) for clip in clips)
    assert 10 * np.log10((first**2).sum() / ((first - second) ** 2).sum()) > SNR


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_mini_generates_the_same_clip_on_both_engines(guidance):
    clips = [
        soundloom.load("mini", engine=engine, device="cpu", precision="fp32").generate(
            "a 440 Hz tone", seconds=2.0, seed=7, guidance=guidance
        )
        for engine in ("torch", "mlx")
    ]
    first, second = (clip.audio.astype(np.float64) for clip in clips)
    assert 10 * np.log10((first**2).sum() / ((first - second) ** 2).sum()) > SNR
