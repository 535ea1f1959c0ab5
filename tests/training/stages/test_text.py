"""Pre-training of the text encoder: its targets, and that it learns them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.training.config import TextTrainingConfig
from soundloom.training.data.latents import Latents
from soundloom.training.init.generator import initialize_text
from soundloom.training.loop.trainer import Trainer
from soundloom.training.stages.text import TextTask, latent_statistics
from tests.training.stages.test_dit import clips, latents, validation  # noqa: F401 (a fixture)
from tests.training.tiny_recipe import LATENT_DIM, TEXT, loop

CONFIG = TextTrainingConfig(loop=loop(steps=120, learning_rate=3e-3, warmup_steps=10, log_every=60), batch_size=8)


def of(*sounds: np.ndarray) -> Latents:
    """Return sounds (t, c) as latents of clips."""
    starts = np.cumsum([0, *map(len, sounds)])
    silence = np.zeros((1, LATENT_DIM), np.float32)
    return Latents(np.concatenate(sounds), starts, np.ones(len(sounds), np.float32), silence)


def distance(latents: Latents) -> float:
    """Return the distance of the first two clips' statistics, relative to that of the first and the last."""
    first, second, *_, last = latent_statistics(latents, CONFIG)
    return float(np.linalg.norm(first - second) / np.linalg.norm(first - last))


def test_statistics_have_unit_mean_square_and_at_most_the_configured_components():
    told = latent_statistics(latents(), replace(CONFIG, components=3))
    assert told.shape == (len(latents()), 3)
    assert np.mean(told.astype(np.float64) ** 2) == pytest.approx(1, rel=0.01)


def test_statistics_separate_channels_and_tempos():
    rng = np.random.default_rng(1)
    spectrum, other = rng.standard_normal((2, LATENT_DIM)).astype(np.float32)
    slow, fast = (np.arange(64) % period == 0 for period in (8, 4))
    steady = np.ones(64, bool)
    assert distance(of(slow[:, None] * spectrum, slow[:, None] * spectrum, steady[:, None] * other)) == 0
    assert distance(of(slow[:, None] * spectrum, fast[:, None] * spectrum, steady[:, None] * other)) > 0.3
    assert distance(of(steady[:, None] * spectrum, steady[:, None] * other, steady[:, None] * -other)) > 0.3


def test_the_encoder_learns_the_statistics_of_its_captions(clips, tmp_path):  # noqa: F811
    torch.manual_seed(0)
    encoder = T5GemmaEncoder(TEXT)
    initialize_text(encoder)
    task = TextTask(encoder, clips, CONFIG)
    before = validation(task, "loss")
    Trainer(task, CONFIG.loop, tmp_path).train()
    assert before == pytest.approx(1, abs=0.4)
    assert validation(task, "loss") < 0.5 * before
