"""Checks of sounds and sets."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile

from soundloom.evaluation.cache import EmbeddingCache
from soundloom.evaluation.frontend import faults
from soundloom.evaluation.sets.checks import (
    SetChecks,
    SoundCheck,
    check_sound,
    check_sounds,
    comparison_notes,
    overlap,
    set_notes,
)
from soundloom.evaluation.sets.items import SoundItem


def write(path, audio, rate=8000, subtype="FLOAT"):
    soundfile.write(path, np.asarray(audio, np.float32), rate, subtype=subtype)
    return SoundItem(path.stem, path)


def noise(count, seed=0):
    return np.random.Generator(np.random.Philox(seed)).uniform(-0.5, 0.5, count).astype(np.float32)


@pytest.mark.parametrize("place", [100, 65534, 65535, 131071])
def test_clipping_is_found_in_and_across_blocks(tmp_path, place):
    audio = noise(200_000)
    audio[place : place + 2] = 1.0
    assert check_sound(write(tmp_path / "a.wav", audio)).faults == ()
    audio[place + 2] = -1.2
    found = check_sound(write(tmp_path / "a.wav", audio))
    assert found.faults == ("clipped",) and found.peak == pytest.approx(1.2)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(8000),
        np.full(8000, 9e-5),
        np.full(100, 0.1),
        np.where(np.arange(8000) == 70, np.nan, 0.1),
        np.where(np.arange(200_000) == 150_000, np.inf, 0.1),
        np.full((8000, 2), 1.0),
        noise(2400),
    ],
)
def test_faults_are_those_of_the_front_end(tmp_path, audio):
    item = write(tmp_path / "a.wav", audio)
    assert check_sound(item).faults == faults(*item.read())


@pytest.mark.parametrize(("cutoff", "rate"), [(2000, 8000), (16000, 44100), (11000, 48000)])
def test_bandwidth_is_that_of_the_power(tmp_path, cutoff, rate):
    spectrum = np.fft.rfft(noise(3 * rate))
    spectrum[round(3 * cutoff) :] = 0
    audio = np.fft.irfft(spectrum) + 0.2  # and an offset
    found = check_sound(write(tmp_path / "a.wav", audio, rate))
    assert found.bandwidth == pytest.approx(cutoff, rel=0.01)


def test_bandwidth_of_short_and_silent_sounds(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 1000 / 8000 * np.arange(2400))
    assert check_sound(write(tmp_path / "a.wav", tone)).bandwidth == pytest.approx(1000, abs=20)
    assert check_sound(write(tmp_path / "a.wav", np.zeros(2400))).bandwidth == 0


def test_copies_are_found_in_other_containers_and_cuts(tmp_path):
    first = write(tmp_path / "a.wav", noise(16000), subtype="PCM_16")
    audio = first.read()[0][0]
    items = [
        first,
        write(tmp_path / "b.flac", audio, subtype="PCM_16"),
        write(tmp_path / "c.wav", np.concatenate([noise(800, 1), audio])),
        write(tmp_path / "d.wav", noise(16000, 2)),
    ]
    items[2] = SoundItem("c", items[2].path, start=0.1)
    checks = check_sounds(items)
    assert checks.copies == (("a", "b", "c"),)
    assert set_notes(checks) == ("2 sounds of the set are copies of others, such as a = b = c",)
    other = check_sounds(items[1:3])
    assert overlap(checks, other.hashes) == ("a", "b", "c")
    assert "3 of 4 sounds are also in the reference" in comparison_notes(checks, other.record(), other.hashes)[0]
    assert not overlap(check_sounds(items[3:]), other.hashes)


def test_unequal_lengths_and_bandwidths_are_noted(tmp_path):
    slow, fast = noise(44100 * 2), noise(44100 * 2)
    spectrum = np.fft.rfft(slow)
    spectrum[2 * 12000 :] = 0
    mine = check_sounds([write(tmp_path / "a.wav", fast, 44100)])
    coded = check_sounds([write(tmp_path / "b.wav", np.fft.irfft(spectrum), 44100)])
    longer = check_sounds([write(tmp_path / "c.wav", np.concatenate([fast, slow]), 44100)])
    (note,) = comparison_notes(mine, coded.record(), coded.hashes)
    assert "bandwidth is 22.0 kHz, that of the reference 12.0 kHz" in note
    (note,) = comparison_notes(mine, longer.record(), longer.hashes)
    assert "last 2.00 s and those of the reference 4.00 s" in note
    assert comparison_notes(mine, mine.record(), []) == ()
    both = SetChecks((*mine.sounds, *longer.sounds))
    assert set_notes(both) == ("sounds of the set last 2.00 to 4.00 s; equal lengths compare best",)


def test_sounds_that_cannot_be_read_are_counted(tmp_path):
    items = [write(tmp_path / "ü.wav", noise(800)), SoundItem("lost", tmp_path / "lost.wav")]
    checks = check_sounds(items)
    record = checks.record()
    assert (record["count"], record["unreadable"], record["rates"]) == (2, 1, {"8000": 1})
    assert "lost.wav" in checks.sounds[1].error
    assert SetChecks((SoundCheck("x", error="gone"),)).record()["bandwidth"] is None


def test_results_are_cached_by_content(tmp_path, monkeypatch):
    items = [write(tmp_path / f"{seed}.wav", noise(8000, seed)) for seed in range(5)]
    first = check_sounds(items, EmbeddingCache(tmp_path / "cache"))
    items[0].path.rename(tmp_path / "x.wav")
    items[0] = SoundItem("x", tmp_path / "x.wav")
    monkeypatch.setattr("soundloom.evaluation.sets.checks.check_sound", None)
    second = check_sounds(items, EmbeddingCache(tmp_path / "cache"))
    assert second.sounds[1:] == first.sounds[1:] and second.sounds[0].id == "x"
    assert second.sounds[0].samples_hash == first.sounds[0].samples_hash


def test_memory_does_not_grow_with_the_length(tmp_path):
    def peak(minutes):
        item = write(tmp_path / f"{minutes}.wav", np.tile(noise(8000), 60 * minutes))
        tracemalloc.start()
        try:
            check_sound(item)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(10) < 1.2 * peak(1)
