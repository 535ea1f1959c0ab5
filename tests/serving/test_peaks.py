"""Peaks and spectrogram tiles."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.audio.blocks import as_stream
from soundloom.serving.peaks import ROWS, SPAN, TILE, pyramid, read_pyramid, spectrogram_tile, tile_count, tile_span

RATE = 44100


def noise(samples, channels=2):
    return np.random.default_rng(0).uniform(-1.2, 1.2, (channels, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 100_000, 3_000_000])
def test_every_level_has_the_lowest_and_highest_samples(samples):
    audio = noise(samples)
    levels = read_pyramid(pyramid(as_stream(audio)))
    assert len(levels[-1]) <= 2048 and all(len(level) > 2048 for level in levels[:-1])
    for number, level in enumerate(levels):
        span = SPAN * 4**number
        assert len(level) == -(-samples // span)
        for place in {0, len(level) // 2, len(level) - 1}:
            part = audio[:, place * span : (place + 1) * span]
            expected = np.stack([np.floor(part.min(axis=1) * 32767), np.ceil(part.max(axis=1) * 32767)], axis=1)
            assert (level[place] == expected.clip(-32768, 32767)).all()


def test_a_tone_is_a_bright_line_at_its_frequency():
    times = np.arange(*tile_span(1, 0)) / RATE
    audio = np.sin(2 * np.pi * 1000 * times)[None].astype(np.float32)
    tile = np.frombuffer(spectrogram_tile(audio, RATE, 0), np.uint8).reshape(ROWS, TILE)
    hz = np.geomspace(30, RATE / 2, ROWS + 1)[::-1]
    row = int(tile.mean(axis=1).argmax())
    assert hz[row + 1] * 0.97 < 1000 < hz[row] * 1.03
    assert tile[row].min() > 240 and tile[:50].max() < 40


def test_tiles_join_without_a_gap():
    audio = np.pad(noise(400_000, 1), ((0, 0), (0, TILE * SPAN * 4)))
    assert tile_count(400_000, 0) == 4

    def tile(number, level):
        start, stop = tile_span(number, level)
        part = np.pad(audio[:, max(0, start) : stop], ((0, 0), (max(0, -start), 0)))
        return np.frombuffer(spectrogram_tile(part, RATE, level), np.uint8).reshape(ROWS, TILE)

    coarse, fine = tile(0, 1), np.concatenate([tile(0, 0), tile(1, 0)], axis=1)
    assert (coarse == fine[:, ::2]).all()
