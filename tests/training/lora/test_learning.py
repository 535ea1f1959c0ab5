"""Adapters of every type learn: after 200 steps on four clips, `mini` makes engine noise, which it had never heard.

Measured by the distance between mean log-mel spectra, in dB, of generated clips and of the training set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundloom import load
from soundloom.audio.mel import log_mel
from soundloom.datasets.synthetic.families import render, sample_source
from soundloom.lora.adapter import TYPES, is_xs
from soundloom.training.loop.logging import read_log
from soundloom.training.lora.config import AdapterConfig
from tests.training.lora.runs import CONFIG, RATE, make_run, with_loop

pytestmark = pytest.mark.slow

FAMILY, SECONDS, STEPS = "engine", 2.0, 200
CONDITIONS = {"reverb": "", "pan": 0.0, "level": -3.0, "fade_in": 0, "fade_out": 0}


def write_engines(folder: Path, clips: int, seed: int) -> Path:
    folder.mkdir()
    for number in range(clips):
        rng = np.random.default_rng([seed, number])
        labels = replace(sample_source(FAMILY, rng, SECONDS), **CONDITIONS)
        soundfile.write(folder / f"{number}.wav", render(labels, SECONDS, rng).T, RATE, subtype="FLOAT")
        (folder / f"{number}.txt").write_text(FAMILY)
    return folder


@pytest.fixture(scope="module")
def engines(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("engines")
    return write_engines(folder / "train", 4, seed=1), write_engines(folder / "held-out", 4, seed=2)


@pytest.fixture(scope="module")
def mini():
    return load("mini", precision="fp32", keep_loaded=True, keep_bad=True)


@pytest.fixture
def one_thread():
    """Small products are no faster with several threads, and much slower beside busy programs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def spectrum(audio: np.ndarray) -> np.ndarray:
    return log_mel(np.asarray(audio, np.float32), RATE).mean(1)


def distance(model, folder: Path) -> float:
    wanted = np.mean([spectrum(soundfile.read(path)[0].T) for path in sorted(folder.glob("*.wav"))], axis=0)
    clips = model.generate([FAMILY] * 4, seconds=SECONDS, seed=5)
    found = np.mean([spectrum(clip.audio) for clip in clips], axis=0)
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("adapter_type", TYPES)
def test_every_type_learns_a_new_kind_of_sound(engines, mini, one_thread, tmp_path, adapter_type):
    train, held_out = engines
    rate = 2e-3 if is_xs(adapter_type) else 1e-3
    config = with_loop(CONFIG, steps=STEPS, learning_rate=rate, final_learning_rate=rate, save_every=STEPS)
    config = replace(
        config,
        adapter=AdapterConfig(type=adapter_type, rank=16 if is_xs(adapter_type) else 4),
        step=replace(config.step, silence_seconds=0.2),
        measure_every=STEPS,
    )
    assert make_run("mini", tmp_path, train, config, held_out).train()
    before, after = (record["held-out"] for record in read_log(tmp_path) if "held-out" in record)
    assert after < 0.92 * before
    plain = distance(mini, train)
    mini.add_lora(next(tmp_path.glob(f"style-step={STEPS}-*")), name="style")
    try:
        full = distance(mini, train)
        mini.set_lora("style", 0.5)
        half = distance(mini, train)
    finally:
        mini.remove_lora("style")
    assert full < 0.7 * plain
    assert full < half < plain
