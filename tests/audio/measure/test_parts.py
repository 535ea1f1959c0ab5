"""The parts of a measurement: frames, notes, onsets, pitch, and long clips."""

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from soundloom.audio.blocks import Stream, as_stream
from soundloom.audio.measure import measure
from soundloom.audio.measure.frames import BINS, LONG_HOP, LOWEST, MAX_PARTS, RATE, analyze, part_spans
from soundloom.audio.measure.key import key_features, key_name, note_levels, pitch_classes, tuning, without_overtones
from soundloom.audio.measure.onsets import BLOCK, LAG, compressed, loudest, mean_rises, onset_times, rises
from soundloom.audio.measure.pitch import estimate_pitch
from soundloom.audio.measure.tempo import candidates
from soundloom.audio.resample import resample
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render

HOUSE = Labels("drum loop", "house", bpm=124, material="acoustic")
CHORDS = Labels("chord progression", "piano", bpm=100, key="A minor")


def rendered(labels, seconds=6.0):
    return render(labels, seconds, np.random.default_rng(0))


def tone(hz, seconds=2.0, rate=RATE):
    t = np.arange(round(seconds * rate)) / rate
    harmonics = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 6) if k * hz < rate / 2)
    return (0.2 * harmonics).astype(np.float32)[None]


def notes_of(audio, rate=RATE):
    return note_levels(analyze(as_stream(audio), rate).parts[0].pitches)


@pytest.mark.parametrize("note", [33, 45, 57, 69, 81, 93])
def test_a_tone_is_at_its_note(note):
    levels = without_overtones(notes_of(tone(440 * 2 ** ((note - 69) / 12)))).sum(axis=0)
    assert LOWEST + int(levels.argmax()) == note
    assert levels.max() > 0.8 * levels.sum()


@pytest.mark.parametrize("cents", [-40, -20, 0, 20, 40])
def test_notes_follow_the_tuning_of_the_clip(cents):
    audio = tone(440 * 2 ** (cents / 1200)) + tone(220 * 2 ** (cents / 1200))
    pitches = analyze(as_stream(audio), RATE).parts[0].pitches
    assert 100 * tuning(pitches.sum(axis=0)) == pytest.approx(cents, abs=100 / BINS)
    assert pitch_classes(without_overtones(note_levels(pitches))).argmax() == 9


def test_features_of_keys_are_the_same_in_every_transposition():
    levels = np.random.default_rng(0).random((20, 81))
    higher = np.zeros_like(levels)
    higher[:, 12:] = levels[:, :-12]
    features = key_features(levels)
    assert features.shape == key_features(higher).shape
    assert {key_name(index) for index in range(24)} >= {"C major", "B major", "C minor", "B minor"}


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("labels", [HOUSE, CHORDS], ids=lambda labels: labels.family)
def test_the_rate_and_the_channels_do_not_matter(rate, labels):
    audio = resample(rendered(labels, 8.0), SAMPLE_RATE, rate)
    stereo, mono = measure(audio, rate), measure(audio.mean(axis=0, keepdims=True), rate)
    assert stereo.tempo == pytest.approx(labels.bpm, rel=0.01)
    assert mono.tempo == pytest.approx(labels.bpm, rel=0.01)
    assert stereo.key == mono.key == (labels.key or None)


@pytest.mark.parametrize("rate", [4000, 8000, 11025])
def test_low_rates_are_right_or_unsure(rate):
    found = measure(resample(rendered(HOUSE, 8.0), SAMPLE_RATE, rate), rate)
    assert found.tempo is None or found.tempo == pytest.approx(124, rel=0.01)
    assert found.key is None


def test_onsets_are_where_sounds_start():
    audio, times = np.zeros((1, 3 * RATE), np.float32), [0.0, 0.4, 0.9, 1.13, 2.5]
    hit = np.random.default_rng(0).normal(0, 0.2, 2000) * np.exp(-np.arange(2000) / 300)
    for start in times:
        audio[0, round(start * RATE) : round(start * RATE) + 2000] += hit.astype(np.float32)
    found = onset_times(mean_rises(analyze(as_stream(audio), RATE).bands))
    assert found == pytest.approx(times, abs=0.02)  # windows are 46 ms long


def test_rises_in_blocks_are_those_of_the_whole():
    bands = np.random.default_rng(0).random((2 * BLOCK + LAG, 32))
    whole = rises(compressed(bands, loudest(bands))).mean(axis=1)
    np.testing.assert_allclose(mean_rises(bands), whole, rtol=1e-12)


def test_steady_noise_has_hardly_an_onset():
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 8 * RATE)).astype(np.float32)
    assert len(measure(noise, RATE).onsets) <= 4


@pytest.mark.parametrize("hz", [41.2, 110.0, 440.0, 1760.0, 5000.0])
@pytest.mark.parametrize("rate", [22050, 48000])
def test_a_tone_has_its_pitch(hz, rate):
    pitch, confidence = estimate_pitch(as_stream(tone(hz, rate=rate)), rate)
    assert pitch == pytest.approx(hz, rel=0.003)
    assert confidence > 0.9


def test_a_chord_and_noise_have_no_pitch():
    chord = sum(tone(220 * 2 ** (step / 12)) for step in (0, 4, 7))
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)
    assert estimate_pitch(as_stream(chord), RATE)[0] is None
    assert estimate_pitch(as_stream(noise), RATE)[0] is None


def test_a_note_has_no_key_at_any_confidence():
    assert measure(tone(220.0, 8.0), RATE).key is None


def test_parts_cover_a_clip_and_are_spread_over_a_long_one():
    for seconds in (0.01, 1, 12, 12.6, 40, 125, 3600):
        samples = round(seconds * RATE)
        spans, frames = part_spans(samples), -(-samples // LONG_HOP)
        assert spans[0][0] == 0 and len(spans) <= MAX_PARTS
        assert len({stop - first for first, stop in spans}) == 1
        assert spans[-1][1] == frames
        if seconds <= 40:
            assert all(after[0] <= before[1] for before, after in pairwise(spans))
    assert part_spans(0) == []


@pytest.mark.parametrize("seconds", [13.1, 30.0])
def test_longer_clips_are_measured_in_parts(seconds):
    found = measure(rendered(HOUSE, seconds), SAMPLE_RATE)
    assert found.tempo == pytest.approx(124, rel=0.002)
    assert found.onsets[-1] > seconds - 1


def test_a_change_of_tempo_within_a_clip_is_unsure():
    slow = rendered(Labels("drum loop", "house", bpm=118, material="acoustic"), 13.0)
    fast = rendered(Labels("drum loop", "house", bpm=130, material="acoustic"), 13.0)
    assert measure(np.concatenate([slow, fast], axis=1), SAMPLE_RATE).tempo is None


@pytest.mark.slow
def test_a_long_clip_takes_flat_memory():
    """Ten minutes at 44.1 kHz are 212 MB as float32."""
    loop = rendered(HOUSE, 60 * 60 / 124)  # sixty beats
    times = 20

    def blocks():
        for _ in range(times):
            yield from as_stream(loop).blocks()

    stream = Stream(2, times * loop.shape[1], blocks)
    tracemalloc.start()
    found = measure(stream, SAMPLE_RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tempo == pytest.approx(124, rel=0.005)
    assert peak < 120e6 < stream.samples * 8


def test_ten_seconds_are_measured_in_less_than_half_a_second():
    audio = rendered(HOUSE, 10.0)
    measure(audio, SAMPLE_RATE)  # reads the weights

    def cost():
        start = time.process_time()
        measure(audio, SAMPLE_RATE)
        return time.process_time() - start

    assert min(cost() for _ in range(3)) < 0.5


def test_candidates_cover_the_range_within_the_tolerance():
    bpm = candidates()
    assert bpm[0] <= 50 and bpm[-1] >= 205
    assert np.diff(np.log(bpm)).max() < 0.04
