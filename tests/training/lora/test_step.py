"""The parts of a step that need no framework."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from soundloom.errors import ConfigError, RequestError
from soundloom.training.lora.config import AdapterConfig
from soundloom.training.lora.coupling import couple
from soundloom.training.lora.padding import extend_lengths, resize_mask, valid_mask
from soundloom.training.lora.step import StepConfig, StepDraws, StepInputs, effective_lengths, prepare, times_from_draws

B, C, T = 3, 4, 10
CONFIG = StepConfig()


def prepared(config: StepConfig = CONFIG, mask_padding: bool = True, **changes) -> StepInputs:
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((B, C, T)).astype(np.float32)
    draws = StepDraws(
        times=np.zeros(B),
        noise=rng.standard_normal((B, C, T)).astype(np.float32),
        extension=np.array([0.0, 2.9, 100.0]),
        masks=np.stack([np.zeros(T), np.arange(T) < 4, np.ones(T)]).astype(np.float32),
        dropped=np.array([False, True, False]),
    )
    lengths, times = np.array([T, 5, 3]), np.array([0.2, 0.5, 1.0])
    return prepare(latents, lengths, np.ones(B), times, replace(draws, **changes), config, mask_padding)


def test_noisy_latents_and_targets_belong_together():
    step = prepared(replace(CONFIG, coupling=False))
    t = step.times[:, None, None]
    np.testing.assert_allclose(step.x - t * step.target, prepared(replace(CONFIG, coupling=False)).x - t * step.target)
    data = step.x - t * step.target
    np.testing.assert_allclose(step.x, (1 - t) * data + t * (data + step.target), atol=1e-6)


def test_lengths_grow_by_whole_frames_up_to_the_end():
    assert prepared().valid.sum(1).tolist() == [T, 7, T]


def test_weights_average_each_clip_and_then_the_clips():
    step = prepared()
    generated, preserved = step.generated.sum((1, 2)) * C, step.preserved.sum((1, 2)) * C
    np.testing.assert_allclose(generated, [1 / B, 1 / B, 0], atol=1e-6)  # the third clip is preserved entirely
    np.testing.assert_allclose(preserved, [0, 1 / B, 1 / B], atol=1e-6)
    assert not (step.generated[:, 0] * step.preserved[:, 0]).any()
    assert not (step.generated + step.preserved)[:, 0][~step.valid].any()


def test_masks_never_preserve_padding():
    step = prepared(extension=np.zeros(B))
    assert not step.local[2, :, 3:].any()
    assert step.local[2, 0, :3].all()


def test_preserved_frames_count_as_much_as_their_weight():
    np.testing.assert_allclose(prepared(replace(CONFIG, preserved_weight=0.25)).preserved, prepared().preserved / 4)


def test_without_masked_padding_all_other_frames_share_one_mean():
    step = prepared(replace(CONFIG, preserved_weight=0.5), mask_padding=False)
    assert step.valid.all()
    np.testing.assert_allclose((step.generated + step.preserved).sum((1, 2)) * C, np.full(B, 1 / B), atol=1e-6)


@pytest.mark.parametrize("kind", ["timestep", "sample", "sample-channel"])
def test_normalization_makes_the_loss_independent_of_the_size_of_targets(kind):
    config = replace(CONFIG, normalization=kind, coupling=False)
    step = prepared(config)
    weighted = (step.generated * np.square(step.target - step.target.mean())).sum()
    assert 0.3 < weighted < 3
    assert step.generated.shape == (B, C if kind == "sample-channel" else 1, T)


def test_coupling_assigns_each_noise_once_and_finds_equal_pairs():
    latents = np.random.default_rng(0).standard_normal((5, C, T)).astype(np.float32)
    order = np.array([3, 0, 4, 1, 2])
    noise = np.empty_like(latents)
    noise[order] = latents
    assert couple(latents, noise).tolist() == order.tolist()
    assert sorted(couple(latents, latents[::-1] * 0)) == list(range(5))


def test_resized_masks_round_up():
    mask = valid_mask(np.array([0, 1, 19, 20]), 20)
    assert resize_mask(mask, 7).sum(1).tolist() == [0, 1, 7, 7]
    assert extend_lengths(np.array([2, 3]), np.array([0.99, 1.01]), 10).tolist() == [2, 4]


def test_effective_lengths_round_up_whole_samples():
    assert effective_lengths([4096 / 44100, 4097 / 44100 + 1e-9, 0.0], 44100, 4096).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("times", "median"), [("truncated-logit-normal", 0.538), ("logit-normal", 0.5), ("logsnr-normal", 0.769)]
)
def test_times_from_normal_draws_follow_their_distribution(times, median):
    z = np.random.default_rng(0).standard_normal(4001)
    t = times_from_draws(StepConfig(times=times), z)
    assert 0 <= t.min() < t.max() <= 1
    assert np.median(t) == pytest.approx(median, abs=0.02)


def test_mask_probabilities_must_sum_to_one():
    with pytest.raises(ConfigError, match="sum to 1"):
        StepConfig(mask_probabilities=(0.5, 0.2, 0.1))


NAMES = [
    "model.transformer.layers.0.self_attn.to_qkv",
    "model.transformer.layers.11.ff.ff.2",
    "model.to_timestep_embed.0",
    "model.transformer.layers.0.to_local_embed.0",
    "conditioners.seconds_total.embedder.embedding.1",
]


@pytest.mark.parametrize(
    ("scope", "layers"), [("core", NAMES[:2]), ("core+seconds", [*NAMES[:2], NAMES[4]]), ("full", NAMES)]
)
def test_scopes_select_layers(scope, layers):
    assert AdapterConfig(scope=scope).layers(NAMES) == layers


def test_recorded_patterns_mean_the_same_elsewhere():
    config = AdapterConfig(scope="full", include=("self_attn", "layers[0-3]"), exclude=("seconds",))
    recorded = config.recorded()
    assert recorded["include"] == [".self_attn.", "layers.[0-3]."]
    assert recorded["exclude"] == [".seconds_total."]
    assert recorded["alpha"] == 16


def test_a_pattern_that_matches_no_layer_is_an_error():
    with pytest.raises(RequestError, match="matches no layer"):
        AdapterConfig(include=("to_qvk",)).layers(NAMES)
    with pytest.raises(ConfigError, match="no layer is left"):
        AdapterConfig(include=("to_local_embed",)).layers(NAMES)


def test_these_modules_import_no_framework():
    modules = ("config", "coupling", "padding", "start", "step")
    code = "; ".join(f"import soundloom.training.lora.{name}" for name in modules)
    check = "import sys; assert not {'torch', 'mlx'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True)
