"""Residuals of synthetic edits whose answer is known."""

import math

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.audio.residual import align, residual
from soundloom.errors import RequestError
from tests.cli.test_many_files import drums

RATE = 16000
SECONDS = 4
N = RATE * SECONDS


def noise(seed, channels=1, samples=N):
    return np.random.default_rng(seed).normal(0, 0.1, (channels, samples)).astype(np.float32)


def tone(hertz, channels=1):
    return np.tile(0.2 * np.sin(2 * np.pi * hertz * np.arange(N) / RATE), (channels, 1)).astype(np.float32)


def delayed(audio, by):
    return np.pad(audio, ((0, 0), (max(by, 0), max(-by, 0))))[:, max(-by, 0) :][:, : audio.shape[1]]


def clip(audio, **record):
    return Clip(audio, RATE, record)


def decibels(audio, reference):
    power = np.mean(np.square(audio, dtype=float)) + 1e-20
    return 10 * math.log10(power / np.mean(np.square(reference, dtype=float)))


@pytest.mark.parametrize("delay", [0, 1, 137, -260, 800, -800])
@pytest.mark.parametrize("gain", [1.0, 0.4, 1.7])
def test_the_residual_holds_what_was_removed(delay, gain):
    kept, removed = noise(1, 2), tone(440, 2)
    left = residual(clip(kept + removed), clip(gain * delayed(kept, delay)))
    facts = left.record["residual"]
    assert facts["delay_samples"] == delay
    assert facts["gains"] == pytest.approx([1 / gain] * 2, rel=0.02)
    inside = slice(abs(delay), N - abs(delay))  # outside, the delayed copy has lost samples
    assert decibels((left.audio - removed)[:, inside], kept) < -40
    assert decibels(left.audio[:, inside], removed) == pytest.approx(0, abs=0.1)


def test_a_music_like_source_is_aligned():
    """A tone repeats every period; its envelope and the other parts decide between the periods."""
    t = np.arange(N) / RATE
    hits = np.zeros(N)
    hits[:: RATE // 2] = 1
    drums = np.convolve(hits, np.random.default_rng(3).normal(0, 1, 800) * np.exp(-np.arange(800) / 150))[:N]
    bass = 0.3 * np.sin(2 * np.pi * 55 * t) * (1 - (2 * t % 1) / 2)
    mix, only_drums = (drums + bass)[None].astype(np.float32), drums[None].astype(np.float32)
    left = residual(clip(mix), clip(0.5 * delayed(only_drums, 91)))
    assert left.record["residual"]["delay_samples"] == 91
    assert decibels((left.audio - (mix - only_drums))[:, 91:-91], only_drums) < -40


def test_the_parts_sum_to_the_source():
    """As the record of the residual says, delayed result times gains plus residual is the source."""
    source, result = clip(noise(1, 2) + tone(440, 2)), clip(delayed(noise(1, 2), 30))
    left = residual(source, result)
    facts = left.record["residual"]
    moved = delayed(result.audio, -facts["delay_samples"])
    assert np.allclose(np.array(facts["gains"])[:, None] * moved + left.audio, source.audio, atol=1e-6)


def test_a_mono_result_is_subtracted_from_every_channel_of_its_source():
    kept, removed = noise(1), tone(440)
    source = np.concatenate([kept + removed, 0.5 * kept])
    for result in (kept, np.repeat(kept, 2, axis=0)):
        left = residual(clip(source), clip(result))
        assert left.channels == 2
        assert left.record["residual"]["gains"] == pytest.approx([1, 0.5], rel=0.02)
        assert decibels(left.audio[0], removed) == pytest.approx(0, abs=0.1)
        assert decibels(left.audio[1], kept) < -40


def test_a_stereo_result_of_a_mono_source_is_averaged():
    kept = noise(1)
    left = residual(clip(kept), clip(np.concatenate([2 * kept, 0 * kept])))
    assert left.channels == 1
    assert decibels(left.audio, kept) < -100


def test_what_was_added_is_in_the_residual_inverted():
    for size in (0.1, 5):
        source, added = noise(1), size * tone(440)
        left = residual(clip(source), clip(source + added))
        assert left.record["residual"]["gains"] == pytest.approx([1], rel=0.03)
        assert np.corrcoef(left.audio[0], -added[0])[0, 1] > 0.99


def test_notes_that_parts_share_do_not_mislead():
    """A bass under each kick, at nearly its pitch and louder: plain least squares is off by 70 % here."""
    t, loop = np.arange(8 * 44100) / 44100, drums(120, 8).astype(np.float32)
    bass = (
        (0.3 * np.sign(np.sin(2 * np.pi * 55 * t)) * np.exp(-3 * (t % 0.5)))[None].repeat(2, axis=0).astype(np.float32)
    )
    plain = np.vdot(loop + bass, loop) / np.vdot(loop, loop)
    assert plain > 1.5
    for kept, removed in ((loop, bass), (bass, loop)):
        left = residual(Clip(kept + removed, 44100), Clip(0.3 * delayed(kept, 77), 44100))
        assert left.record["residual"]["delay_samples"] == 77
        assert left.record["residual"]["gains"] == pytest.approx([1 / 0.3] * 2, rel=0.02)
        assert decibels((left.audio - removed)[:, 77:-77], kept) < -40


def test_an_identical_result_leaves_silence_and_a_silent_one_the_source():
    source = clip(noise(1, 2))
    assert np.abs(residual(source, source).audio).max() < 1e-6
    left = residual(source, clip(np.zeros((2, N), np.float32)))
    assert np.array_equal(left.audio, source.audio)
    assert left.record["residual"]["gains"] == [0, 0]
    silent = clip(np.zeros((1, N), np.float32))
    assert not residual(silent, source).audio.any()


def test_unrelated_audio_is_not_delayed():
    found = align(noise(1), noise(2), RATE, 800)
    assert found.delay == 0
    assert found.correlation < 0.1


def test_a_delay_beyond_the_range_is_not_found():
    kept = noise(1)
    assert residual(clip(kept), clip(delayed(kept, 801))).record["residual"]["delay_samples"] == 0
    assert residual(clip(kept), clip(delayed(kept, 801)), 0.06).record["residual"]["delay_samples"] == 801


@pytest.mark.parametrize("samples", [1, 2, 9000])
@pytest.mark.parametrize("length", [1, 2, 20, 9000])
def test_very_short_audio(samples, length):
    left = residual(clip(noise(1, samples=samples)), clip(noise(1, samples=length)))
    assert left.samples == samples
    assert np.isfinite(left.audio).all()


@pytest.mark.parametrize("samples", [100, N - 5, N + 700, 2 * N])
def test_results_of_another_length(samples):
    kept = noise(1, samples=2 * N)
    left = residual(clip(kept[:, :N]), clip(kept[:, :samples]))
    assert left.samples == N
    assert decibels(left.audio[:, :samples] + 1e-9, kept) < -20


def test_the_record_keeps_the_license_and_says_what_it_is():
    result = clip(noise(1), mode="edit", license="CC-BY-NC 4.0", model="m", request={"prompt": "No piano"}, seed=7)
    record = residual(clip(noise(1)), result).record
    assert (record["mode"], record["license"], record["prompt"]) == ("residual", "CC-BY-NC 4.0", "No piano")
    assert record["residual"]["method"].startswith("source - gain * result; delay by cross-correlation")
    assert record["residual"]["max_delay"] == 0.05
    assert "request" not in record  # it cannot be repeated


@pytest.mark.parametrize(
    ("source", "result", "delay", "sentence"),
    [
        (clip(noise(1)), Clip(noise(1), 8000), 0.05, "found 16000 and 8000 Hz"),
        (clip(noise(1, samples=0)), clip(noise(1)), 0.05, "clips that have samples"),
        (clip(noise(1)), clip(noise(1, samples=0)), 0.05, "clips that have samples"),
        (clip(noise(1)), clip(noise(1)), -0.1, "must be 0 to 1 s"),
        (clip(noise(1)), clip(noise(1)), math.nan, "must be 0 to 1 s"),
    ],
)
def test_invalid_residuals(source, result, delay, sentence):
    with pytest.raises(RequestError, match=sentence):
        residual(source, result, delay)
