"""Every embedder must hear damage dose by dose."""

import numpy as np
import pytest

from soundloom.datasets.synthetic.families import render, sample_source
from soundloom.errors import DownloadError, RequestError
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.embedders.fetch import fetch_weights
from soundloom.evaluation.embedders.ladder import (
    LadderRow,
    add_noise,
    caption_preference,
    change_speed,
    clip,
    ladder,
    low_pass,
)
from soundloom.evaluation.embedders.load import load_embedder

RATE = 44100
MUSIC = ("drum loop", "bass line", "chord progression", "arpeggio", "melody")
AMBIENCE = ("rain", "wind", "sea", "fire", "engine")


def clips(families, count, seconds, seed=0):
    made = []
    for number in range(count):
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        labels = sample_source(families[number % len(families)], rng, seconds)
        made.append(render(labels, seconds, rng))
    return made


def check(embedder, count, seconds):
    rows = ladder(embedder, clips(MUSIC, count, seconds), clips(AMBIENCE, count, seconds, 1), RATE)
    assert [row.name for row in rows if not row.passed] == []
    assert all(abs(row.distances[0]) < 1e-6 * max(row.distances) for row in rows)
    return {row.name: row for row in rows}


def test_the_projection_of_log_mel_hears_all_damage():
    rows = check(load_embedder("log-mel"), 6, 1.2)
    assert rows["low-pass"].doses == (0.0, 16000.0, 8000.0, 4000.0, 2000.0, 1000.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aisfx", "musicnn"])
def test_networks_hear_all_damage_below_half_their_rate(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path))
    try:
        fetch_weights(name, None, lambda line: None)
    except DownloadError as error:
        pytest.skip(f"the weights cannot be fetched here: {error}")
    rows = check(load_embedder(name, "cpu"), 6, 2.5)
    assert max(rows["low-pass"].doses) == {"aisfx": 16000.0, "musicnn": 4000.0}[name]


class Deaf:
    """An embedder that hears level only."""

    info = EmbedderInfo("deaf", RATE, RATE, 2, "")

    def embed(self, windows):
        level = np.abs(windows).mean(axis=1)
        return np.stack([level, level**2], axis=1).astype(np.float32)


def test_an_embedder_that_hears_too_little_does_not_pass():
    rows = ladder(Deaf(), clips(MUSIC, 6, 1.0), clips(AMBIENCE, 6, 1.0, 1), RATE)
    assert not all(row.passed for row in rows)
    assert not LadderRow("flat", "", (0, 1, 2), (0.0, 0.0, 0.0)).passed
    assert not LadderRow("falls", "", (0, 1, 2, 3), (0.0, 3.0, 2.0, 1.0)).passed


def test_one_sound_is_too_few():
    with pytest.raises(RequestError, match="a ladder needs 2 sounds of each class, found 1 and 0"):
        ladder(Deaf(), clips(MUSIC, 1, 1.0), [], RATE)


def test_captions_are_paired_with_their_own_clips():
    class Paired(Deaf):
        def __init__(self):
            self.info, self.numbers = EmbedderInfo("paired", 8000, 8000, 3, ""), iter([0, 1, 2, 0, 2, 1])

        def embed(self, windows):
            return np.eye(3, dtype=np.float32)[[next(self.numbers)]]

        def embed_text(self, texts):
            return np.eye(3, dtype=np.float32)[[int(text) for text in texts]]

    sounds, embedder = [np.full((1, 8000), 0.1, np.float32)] * 3, Paired()
    assert caption_preference(embedder, sounds, ["0", "1", "2"], 8000) == 1
    assert caption_preference(embedder, sounds, ["0", "1", "2"], 8000) == pytest.approx(2 / 6)  # two are exchanged


def test_damage_has_the_stated_dose():
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((2, RATE))).astype(np.float32)
    error = add_noise(noise, 3, snr=20.0).astype(np.float64) - noise
    assert 10 * np.log10((noise.astype(np.float64) ** 2).mean() / (error**2).mean()) == pytest.approx(20, abs=0.05)
    assert not np.array_equal(add_noise(noise, 3, 20.0), add_noise(noise, 4, 20.0))

    power = np.abs(np.fft.rfft(low_pass(noise, 0, RATE, 4000.0))) ** 2
    assert power[:, 4401:].max() < 1e-6 * power[:, :4000].mean()
    assert power[:, :4000] == pytest.approx(np.abs(np.fft.rfft(noise))[:, :4000] ** 2, rel=1e-2, abs=1e-3)

    limited = clip(noise, 0, share=0.1)
    assert (limited != noise).mean() == pytest.approx(0.1, abs=1e-3)

    sine = np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE)[None].astype(np.float32)
    for change in (0.2, -0.2):
        played = change_speed(sine, 0, change)
        assert played.shape == sine.shape
        assert np.abs(np.fft.rfft(played[0])).argmax() == pytest.approx(441 * (1 + change), abs=2)
