"""Synthetic sounds match their labels: level, length, tuning, tempo, pan."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE, Labels, render
from soundloom.datasets.synthetic.families import sample_source
from soundloom.datasets.synthetic.labels import midi_to_hz, note_name
from soundloom.datasets.synthetic.sounds.drums import step_times
from soundloom.datasets.synthetic.sounds.music import degree_hz, triad
from soundloom.errors import RequestError

TONAL = ("tone", "bass", "pluck", "bell", "instrument", "lead", "chord", "pad", "beeps")


def rng_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def decibels(value: float) -> float:
    return 20 * np.log10(value)


def cents_off(audio: np.ndarray, hz: float) -> float:
    """Distance in cents from `hz` to the strongest partial within a semitone of it."""
    mono = audio.sum(axis=0)
    size = 8 * mono.size  # zero padding for a fine frequency axis
    power = np.abs(np.fft.rfft(mono * np.hanning(mono.size), size))
    axis = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    near = (axis > hz / 1.059) & (axis < hz * 1.059)
    return 1200 * np.log2(axis[near][np.argmax(power[near])] / hz)


def onsets(audio: np.ndarray) -> np.ndarray:
    """Times at which the short-time energy leaps, in seconds."""
    hop = 64
    frames = np.abs(audio.sum(axis=0))
    energy = frames[: frames.size // hop * hop].reshape(-1, hop).max(axis=1)
    before = np.array([energy[max(0, i - 12) : i].max(initial=0.0) for i in range(energy.size)])
    leaps = np.flatnonzero((energy > 2 * before) & (energy > 0.1 * energy.max()))
    firsts = leaps[np.diff(leaps, prepend=-100) > 20]
    return firsts * hop / SAMPLE_RATE


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_finite_audible_and_has_the_exact_length(family: str) -> None:
    for seed in range(6):
        rng = rng_of(seed)
        labels = sample_source(family, rng)
        audio = render(labels, labels.seconds, rng)
        assert audio.dtype == np.float32
        assert audio.shape == (2, round(labels.seconds * SAMPLE_RATE))
        assert np.isfinite(audio).all()
        assert decibels(float(np.abs(audio).max())) == pytest.approx(labels.level, abs=0.01)
        assert -45 < decibels(float(np.sqrt(np.mean(audio**2)))) < 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seconds", [0.5, 6.0])
def test_every_family_renders_any_length(family: str, seconds: float) -> None:
    rng = rng_of(1)
    audio = render(sample_source(family, rng, seconds), seconds, rng)
    assert audio.shape == (2, round(seconds * SAMPLE_RATE))
    assert np.abs(audio).max() > 0.1


@pytest.mark.parametrize("family", TONAL)
def test_pitch_is_within_five_cents_of_the_label(family: str) -> None:
    for seed in range(8):
        rng = rng_of(seed)
        labels = replace(sample_source(family, rng, 2.0), reverb="", count=1)
        assert abs(cents_off(render(labels, 2.0, rng), labels.hz)) < 5, labels


@pytest.mark.parametrize(("name", "hz"), [("A4", 440.0), ("C4", 261.6256), ("E1", 41.2034)])
def test_note_names_follow_concert_pitch(name: str, hz: float) -> None:
    assert note_name(hz) == name


def test_a_pitch_between_two_notes_has_no_name() -> None:
    assert note_name(450.0) is None


def test_triads_follow_the_key() -> None:
    assert [note_name(hz) for hz in triad("A minor", 57)] == ["A3", "C4", "E4"]
    assert [note_name(hz) for hz in triad("G major", 55)] == ["G3", "B3", "D4"]
    assert degree_hz("C major", 7, 60) == pytest.approx(midi_to_hz(72))


@pytest.mark.parametrize("bpm", [60, 97, 120, 150, 180])
def test_onset_autocorrelation_of_a_kick_loop_peaks_at_its_beat(bpm: int) -> None:
    audio = render(Labels("single drum loop", "kick", bpm=bpm, material="electronic"), 6.0, rng_of(0))
    hop = 64
    envelope = np.abs(audio[0, : audio.shape[1] // hop * hop]).reshape(-1, hop).max(axis=1)
    leaps = np.convolve(np.maximum(0, np.diff(envelope)), np.hanning(11))  # beats fall between frames
    correlation = np.correlate(leaps, leaps, "full")[leaps.size - 1 :]
    shortest = int(60 / 200 * SAMPLE_RATE / hop)
    lag = shortest + int(np.argmax(correlation[shortest:]))
    assert 60 / (lag * hop / SAMPLE_RATE) == pytest.approx(bpm, rel=0.01)


@pytest.mark.parametrize("variant", ["house", "techno", "rock", "hip hop", "funk"])
@pytest.mark.parametrize("swing", [0.0, 1 / 3])
def test_drum_loops_are_on_the_grid_of_their_tempo(variant: str, swing: float) -> None:
    bpm = 110
    labels = Labels("drum loop", variant, bpm=bpm, swing=swing, material="acoustic")
    grid = np.array(step_times(bpm, swing, 6.0))
    found = onsets(render(labels, 6.0, rng_of(0)))
    assert found.size > 8
    assert np.abs(found[:, None] - grid).min(axis=1).max() < 0.004


def test_swing_delays_every_second_sixteenth() -> None:
    assert step_times(60, 1 / 3, 1.0) == pytest.approx([0, 0.25 + 0.25 / 3, 0.5, 0.75 + 0.25 / 3])


@pytest.mark.parametrize("family", ["rain", "drum loop", "pad", "tone", "footsteps"])
@pytest.mark.parametrize("pan", [-1.0, -0.5, 0.5, 1.0])
@pytest.mark.parametrize("reverb", ["", "hall"])
def test_louder_channel_is_the_side_of_the_label(family: str, pan: float, reverb: str) -> None:
    rng = rng_of(2)
    labels = replace(sample_source(family, rng, 3.0), pan=pan, reverb=reverb)
    left, right = np.sqrt(np.mean(render(labels, 3.0, rng) ** 2, axis=1)) + 1e-9
    assert np.sign(right - left) == np.sign(pan)
    assert abs(decibels(right / left)) > 3


def test_a_whoosh_moves_to_the_other_side() -> None:
    audio = render(Labels("whoosh", pan=-0.9, pan_to=0.9), 1.5, rng_of(0))
    early, late = audio[:, : 1 * SAMPLE_RATE // 2], audio[:, SAMPLE_RATE:]
    assert np.mean(early[0] ** 2) > 2 * np.mean(early[1] ** 2)
    assert np.mean(late[1] ** 2) > 2 * np.mean(late[0] ** 2)


def test_brightness_moves_the_spectrum() -> None:
    def centroid(brightness: float) -> float:
        labels = Labels("lead", "saw lead", hz=440.0, brightness=brightness)
        power = np.abs(np.fft.rfft(render(labels, 1.0, rng_of(0))[0])) ** 2
        return float(np.average(np.arange(power.size), weights=power))

    assert centroid(0.1) < 0.7 * centroid(0.5) < 0.5 * centroid(0.9)


def test_reverb_rings_on_after_the_sound() -> None:
    def tail(reverb: str) -> float:
        labels = Labels("drum hit", "rimshot", material="acoustic", reverb=reverb)
        return float(np.sqrt(np.mean(render(labels, 1.0, rng_of(0))[:, SAMPLE_RATE // 4 : SAMPLE_RATE // 2] ** 2)))

    assert tail("") < 1e-6
    assert tail("hall") > 1e-4


def test_a_fade_in_starts_softly() -> None:
    audio = render(Labels("noise", "white", fade_in=1.0), 2.0, rng_of(0))
    first, last = np.abs(audio[:, : SAMPLE_RATE // 10]).max(), np.abs(audio[:, SAMPLE_RATE:]).max()
    assert first < 0.1 * last


def test_scene_contains_both_sources_each_on_its_side() -> None:
    rain = Labels("rain", "steady", pan=1.0)
    tone = Labels("tone", "sine", hz=440.0, pan=-1.0, layer=rain)
    audio = render(tone, 2.0, rng_of(0))
    purity = [np.abs(np.fft.rfft(channel)).max() / np.abs(channel).sum() for channel in audio]
    assert purity[0] > 0.5  # a single line
    assert purity[1] < 0.1  # noise


@pytest.mark.parametrize(("family", "count"), [("knock", 3), ("beeps", 4), ("clicks", 5)])
def test_countable_events_are_as_many_as_labeled(family: str, count: int) -> None:
    labels = Labels(family, hz=1000.0, rate=2.0, count=count, material="wood")
    assert onsets(render(labels, 3.0, rng_of(0))).size == count


def test_unknown_families_and_invalid_lengths_raise() -> None:
    with pytest.raises(RequestError, match="kazoo"):
        render(Labels("kazoo"), 1.0, rng_of(0))
    with pytest.raises(RequestError, match="-1"):
        render(Labels("rain", "steady"), -1.0, rng_of(0))
