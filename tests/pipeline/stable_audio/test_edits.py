"""Test that edits preserve samples exactly outside regions and honor region borders to the sample."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import Compat, GenerationRequest, bars
from soundloom.errors import RequestError
from soundloom.pipeline.stable_audio.assembler import ClipAssembler
from soundloom.pipeline.stable_audio.plan import plan_clip


def noise_clip(seconds, rate=44100, channels=2, seed=0):
    audio = np.random.default_rng(seed).uniform(-0.3, 0.3, (channels, round(seconds * rate)))
    return Clip(audio.astype(np.float32), rate)


@pytest.fixture
def short_model(tiny_model, monkeypatch):
    """Return the tiny model with a limit of 64 latents, 5.9 s, so that several passes are quick."""
    checkpoint = replace(tiny_model.checkpoint, config=replace(tiny_model.config, sample_size=64 * 4096))
    monkeypatch.setattr(tiny_model, "checkpoint", checkpoint)
    return tiny_model


def preserved(clip, *regions):
    """Return a mask of the samples outside regions, which are in seconds."""
    mask = np.ones(clip.samples, dtype=bool)
    for start, end in regions:
        mask[round(start * clip.sample_rate) : round(end * clip.sample_rate)] = False
    return mask


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_outside_regions_are_preserved(tiny_model, rate, channels):
    clip = noise_clip(3, rate, channels)
    regions = [(0.5001, 1.0), (1.7, 1.70009), (2.5, 3.0)]
    out = tiny_model.inpaint(clip, regions, "rain", seed=1)
    outside = preserved(clip, *regions)
    assert (out.sample_rate, out.channels, out.samples) == (rate, channels, clip.samples)
    assert out.audio[:, outside].tobytes() == clip.audio[:, outside].tobytes()
    for region in regions:
        inside = ~preserved(clip, region)
        assert (out.audio[:, inside] != clip.audio[:, inside]).mean() > 0.9


@pytest.mark.parametrize(("start", "end"), [(20000, 20001), (4095, 4097), (1, 44099), (0, 10), (44090, 44100)])
def test_a_boundary_at_any_sample_is_honored(tiny_model, start, end):
    clip = noise_clip(1)
    out = tiny_model.inpaint(clip, [(start / 44100, end / 44100)], "rain", seed=1)
    changed = np.flatnonzero((out.audio != clip.audio).any(axis=0))
    assert changed.min() == start
    assert changed.max() == end - 1


def test_a_region_can_be_varied(tiny_model):
    clip = noise_clip(2)
    near = tiny_model.vary(clip, "rain", noise=0.05, regions=[(0.5, 1.5)], seed=1)
    outside = preserved(clip, (0.5, 1.5))
    assert (near.audio[:, outside] == clip.audio[:, outside]).all()
    assert near.record["mode"] == "inpaint"
    assert near.record["request"]["noise"] == 0.05


def test_a_variation_preserves_length_rate_and_channels(tiny_model):
    clip = noise_clip(1.234, 48000, 1)
    out = tiny_model.vary(clip, "rain", noise=0.5, seed=1)
    assert (out.sample_rate, out.channels, out.samples) == (48000, 1, clip.samples)


def test_less_noise_stays_closer_to_the_source(tiny_model):
    """The reference is the reconstruction by the autoencoder, the closest that a variation can come."""
    clip = noise_clip(2)
    source = tiny_model.decode(tiny_model.encode(clip), clip.samples).audio
    distances = [
        np.abs(tiny_model.vary(clip, "rain", noise=level, sampler="euler", seed=1).audio - source).mean()
        for level in (0.02, 0.3, 1.0)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.2 * distances[2]


@pytest.mark.parametrize("before", [False, True])
def test_a_clip_is_extended_by_the_requested_length(tiny_model, before):
    clip = noise_clip(2, 48000)
    out = tiny_model.extend(clip, 1.5, "rain", before=before, seed=1)
    assert out.samples == clip.samples + 72000
    old = out.audio[:, 72000:] if before else out.audio[:, : clip.samples]
    assert old.tobytes() == clip.audio.tobytes()
    new = out.audio[:, :72000] if before else out.audio[:, clip.samples :]
    assert np.abs(new).max() > 0.01


@pytest.mark.parametrize("before", [False, True])
def test_extensions_beyond_the_limit_take_several_passes(short_model, before):
    clip = noise_clip(3)
    events = []
    out = short_model.extend(clip, 14, "rain", before=before, seed=1, steps=2, progress=events.append)
    assert out.samples == 17 * 44100
    old = out.audio[:, -clip.samples :] if before else out.audio[:, : clip.samples]
    assert old.tobytes() == clip.audio.tobytes()
    passes = sum(event.stage == "sample" and event.finished for event in events)
    assert passes == 5  # 14 s in pieces of half of 5.9 s
    second = 44100
    loudness = [np.abs(out.audio[:, i : i + second]).max() for i in range(0, out.samples, second)]
    assert min(loudness) > 0.01


def test_a_region_of_a_long_clip_is_generated_in_a_window_around_it(short_model):
    clip = noise_clip(20)
    out = short_model.inpaint(clip, [(3.0, 3.5), (12.0, 17.0)], "rain", seed=1, steps=2)
    outside = preserved(clip, (3.0, 3.5), (12.0, 17.0))
    assert out.audio[:, outside].tobytes() == clip.audio[:, outside].tobytes()
    inside = ~outside
    assert (out.audio[:, inside] != clip.audio[:, inside]).mean() > 0.99


@pytest.mark.parametrize("region", [(2.0, 14.0), (0.0, 12.0)])
def test_pieces_of_a_long_region_join_without_a_step_and_without_the_source(short_model, region):
    """The source is -0.5, and each pass returns another level from 0.1: no value may lie between or below."""
    source = Clip(np.full((2, 16 * 44100), -0.5, np.float32), 44100)
    request = GenerationRequest("x", source=source, regions=(region,), seed=1)
    edit = ClipAssembler(plan_clip(request, short_model.config, 4.0), short_model.config)
    level = 0.0
    while (item := edit.next_pass()) is not None:
        level += 0.1
        edit.accept(np.full((2, item.samples), level, np.float32))
    assert edit.passes > 3
    start, end = (round(edge * 44100) for edge in region)
    fade = round(0.01 * 44100)
    audio = edit.finish().audio
    generated = audio[:, start + fade : end - fade]
    assert generated.min() > 0.09
    assert np.abs(np.diff(audio[:, start - fade if start else 0 : end + fade])).max() < 0.01


@pytest.mark.parametrize("compat", ["stable-audio-3", "mlx"])
def test_published_behavior_rejects_edits_beyond_the_limit(short_model, compat):
    request = GenerationRequest("x", source=noise_clip(3), seconds=14, compat=Compat.named(compat))
    with pytest.raises(RequestError, match=r"would be 14 s long, and published systems edit at most 5\.944 s"):
        short_model.run([request])


def test_a_variation_beyond_the_limit_is_rejected(short_model):
    with pytest.raises(RequestError, match="varies at most"):
        short_model.vary(noise_clip(7), "rain")


def test_new_audio_stays_within_full_scale_with_a_warning(tiny_model, monkeypatch):
    decode = type(tiny_model.engine).decode
    monkeypatch.setattr(type(tiny_model.engine), "decode", lambda *arguments: 2 * decode(*arguments))
    out = tiny_model.inpaint(noise_clip(1), [(0.2, 0.8)], "rain", seed=1)
    assert np.abs(out.audio).max() <= 1
    assert any("turned down" in warning for warning in out.record["warnings"])


def test_bars_and_beats_convert_to_seconds():
    assert bars(3, 5, bpm=120) == (4.0, 8.0)
    assert bars("1.3", "2.2", bpm=60) == (2.0, 5.0)
    assert bars(2, 3, bpm=90, beats_per_bar=3) == (2.0, 4.0)


@pytest.mark.parametrize("place", ["x", "0", "1.5", "1.0"])
def test_beats_outside_the_bar_are_rejected(place):
    with pytest.raises(RequestError):
        bars(place, 9, bpm=120)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([(0.5, 2.5)], "ends after the clip"),
        ([(0.2, 0.6), (0.5, 0.9)], "overlap"),
        ([(0.5, 0.5)], "end after its start"),
        ([(-1, 0.5)], "0 or later"),
        ([(float("nan"), 0.5)], "0 or later"),
        ([], "at least one region"),
        ((0.2, 0.6), "must be pairs of seconds"),
        ([(0.5, 0.500001)], "shorter than one sample"),
    ],
)
def test_invalid_regions_are_rejected(tiny_model, regions, message):
    with pytest.raises(RequestError, match=message):
        tiny_model.inpaint(noise_clip(1), regions, "rain")


def test_an_extension_cannot_be_a_variation(tiny_model):
    request = GenerationRequest("x", source=noise_clip(1), seconds=2, noise=0.5)
    with pytest.raises(RequestError, match="there is none before or after a clip"):
        tiny_model.run([request])
