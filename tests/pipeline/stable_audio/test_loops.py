"""Loops: exact lengths, renewed seams, preserved samples, and the tempo that the model is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.config.stable_audio.request import Compat, GenerationRequest
from soundloom.errors import RequestError
from soundloom.pipeline.stable_audio.plan import plan_pass
from soundloom.pipeline.stable_audio.prompts import frame_times


def noise_clip(seconds, rate=44100, channels=2):
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, (channels, round(seconds * rate)))
    return Clip(audio.astype(np.float32), rate)


@pytest.fixture
def short_model(tiny_model, monkeypatch):
    """Return the tiny model with a limit of 32 latents, 3 s, so that several passes are quick."""
    checkpoint = replace(tiny_model.checkpoint, config=replace(tiny_model.config, sample_size=32 * 4096))
    monkeypatch.setattr(tiny_model, "checkpoint", checkpoint)
    return tiny_model


# Lengths


@pytest.mark.parametrize(
    ("bars", "bpm", "meter", "beats"),
    [(1, 129, "4/4", 4), (2, 97.3, "3/4", 6), (0.5, 80, "4/4", 2), (1, 160, "7/8", 7), (1.5, 151, "3/4", None)],
)
def test_a_length_in_bars_is_exact_to_the_sample(tiny_model, bars, bpm, meter, beats):
    clip = tiny_model.generate("rain", bars=bars, bpm=bpm, meter=meter, loop=True, seed=1)
    assert clip.samples == round(bars * int(meter[0]) * 60 / bpm * 44100)
    known = {"bpm": bpm, "bars": bars, "meter": meter} | ({"beats": beats} if beats else {})
    assert clip.record["loop"] == known


def test_the_prompt_sets_the_tempo(tiny_model):
    clip = tiny_model.generate("kick, 120 BPM", bars=1)
    assert clip.samples == 88_200
    assert clip.record["request"]["bpm"] == 120 and "loop" not in clip.record
    assert "warnings" not in clip.record or not any("tempo" in text for text in clip.record["warnings"])


def test_a_tempo_that_the_prompt_does_not_name_is_added_to_it(tiny_model):
    clip = tiny_model.generate("kick", bars=1, bpm=120)
    assert clip.record["request"]["prompt"] == "kick, 120 BPM"
    assert "the tempo was added to the prompt: kick, 120 BPM" in clip.record["warnings"]
    assert tiny_model.generate("", bars=1, bpm=120).record["request"].get("prompt", "") == ""


def test_a_second_prompt_gets_the_tempo_too(tiny_model):
    record = tiny_model.generate("kick", prompt_b="rain", bars=1, bpm=120, loop=True).record
    assert (record["request"]["prompt"], record["request"]["prompt_b"]) == ("kick, 120 BPM", "rain, 120 BPM")


def test_a_curve_of_prompts_follows_the_loop_through_its_seam(tiny_model):
    request = GenerationRequest("kick", prompt_b="rain", mix=[(0, 0), (2, 1)], seconds=2.0, loop=True)
    config = tiny_model.config
    (planned,) = tiny_model.plan([request]).clips
    times = frame_times(plan_pass(planned, config, 1), 21, 4096 / 44100)
    wrap = np.flatnonzero(np.diff(times) < 0)
    assert wrap.size == 1 and times[wrap[0]] > 1.9 and times[wrap[0] + 1] < 0.1


def test_a_conflict_of_tempos_names_both(tiny_model):
    clip = tiny_model.generate("kick, 129 BPM", bars=1, bpm=120)
    assert clip.samples == 88_200
    assert any("129 BPM" in text and "120 BPM" in text for text in clip.record["warnings"])


def test_a_batch_of_prompts_with_tempos_of_their_own(tiny_model):
    clips = tiny_model.generate(["kick, 120 BPM", "rain, 100 BPM"], bars=1, loop=True)
    assert [clip.samples for clip in clips] == [88_200, 105_840]


def test_a_request_with_bars_round_trips(tiny_model):
    clip = tiny_model.generate("kick, 129 BPM", bars=1, loop=True, seed=3)
    request = GenerationRequest.from_record(clip.record["request"])
    again = tiny_model.run([request])[0]
    assert again.audio.tobytes() == clip.audio.tobytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"bars": 1},
        {"bars": 0, "bpm": 120},
        {"bars": float("nan"), "bpm": 120},
        {"bars": -1, "bpm": 120},
        {"bars": 1e9, "bpm": 120},
        {"bars": "four", "bpm": 120},
        {"bars": 1, "bpm": 0},
        {"bars": 1, "bpm": float("inf")},
        {"bpm": 5},
        {"bars": 1, "bpm": 120, "meter": "four"},
        {"bars": 1, "bpm": 120, "meter": 4},
        {"bars": 1, "bpm": 120, "meter": "4/5"},
        {"bars": 1, "bpm": 120, "seconds": 3.0},
        {"loop": "yes"},
        {"passes": 1},
        {"loop": True, "seam": 0},
        {"loop": True, "seam": 100},
        {"loop": True, "compat": Compat.named("mlx")},
    ],
)
def test_nonsense_is_refused_in_a_sentence(wrong):
    with pytest.raises(RequestError):
        GenerationRequest("rain", **wrong)


def test_a_loop_that_is_too_short_is_refused(tiny_model):
    with pytest.raises(RequestError, match=r"at least 0\.1 s, found 0\.05 s"):
        tiny_model.generate("rain", seconds=0.05, loop=True)


# Seams


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize(("seconds", "seam"), [(0.1, 0.5), (0.731, 0.5), (2, 0.2), (7, 1.0)])
def test_all_samples_outside_the_seam_are_preserved(short_model, rate, seconds, seam):
    clip = noise_clip(seconds, rate, 1 + (rate == 48000))
    looped = short_model.loop(clip, "rain", seam=seam, seed=1)
    assert (looped.samples, looped.channels, looped.sample_rate) == (clip.samples, clip.channels, rate)
    changed = np.flatnonzero((looped.audio != clip.audio).any(axis=0))
    reach = min(round(seam * rate / 2), clip.samples // 4)
    inner = changed[(changed >= reach) & (changed < clip.samples - reach)]
    assert inner.size == 0
    assert changed.size > 1.9 * reach  # all of the seam is new


@pytest.mark.parametrize("seconds", [1.3, 2])
def test_a_loop_is_the_rotated_clip_inpainted_in_its_middle(tiny_model, seconds):
    clip = noise_clip(seconds)
    (planned,) = tiny_model.plan([GenerationRequest("rain", source=clip, loop=True, seed=1)]).clips
    (window,) = planned.windows
    ((start, end),) = window.regions
    rotated = Clip(np.roll(clip.audio, -window.rotation, axis=1), clip.sample_rate)
    edited = tiny_model.inpaint(rotated, [(start / 44100, end / 44100)], "rain", seed=1)
    looped = tiny_model.loop(clip, "rain", seed=1)
    assert np.roll(edited.audio, window.rotation, axis=1).tobytes() == looped.audio.tobytes()
    assert start < clip.samples - window.rotation < end  # the wrap lies within


def test_a_generated_loop_is_the_clip_with_a_renewed_seam(tiny_model):
    plain = tiny_model.generate("rain", seconds=2, seed=4)
    looped = tiny_model.generate("rain", seconds=2, seed=4, loop=True)
    changed = np.flatnonzero((looped.audio != plain.audio).any(axis=0))
    assert changed.min() == 0 and changed.max() == plain.samples - 1
    assert changed.size == pytest.approx(0.5 * 44100, rel=0.01)
    assert looped.record["mode"] == "generate"


def test_a_loop_beyond_the_limit_takes_several_passes(short_model):
    clip = short_model.generate("rain", seconds=8, loop=True, seed=1)
    assert clip.samples == 8 * 44100
    with pytest.raises(RequestError, match=r"8 s were requested, and one pass generates at most 2\.97"):
        short_model.generate("rain", seconds=8, passes=False)
    assert short_model.generate("rain", seconds=2, passes=False).samples == 88_200


def test_loops_in_a_batch_are_those_alone(tiny_model):
    together = tiny_model.generate(["rain", "wind"], seconds=1.2, loop=True, seed=[5, 6])
    alone = [tiny_model.generate(text, seconds=1.2, loop=True, seed=seed) for text, seed in (("rain", 5), ("wind", 6))]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.audio, other.audio, atol=1e-4)


# Sources


def test_the_first_bars_of_a_source_become_a_loop(tiny_model):
    clip = noise_clip(3, 48000)
    looped = tiny_model.loop(clip, "rain", bars=1, bpm=120)
    assert looped.samples == 96_000
    assert (looped.record["mode"], looped.record["loop"]["beats"]) == ("loop", 4)
    middle = slice(24_000, 72_000)
    assert looped.audio[:, middle].tobytes() == clip.audio[:, middle].tobytes()
    with pytest.raises(RequestError, match=r"the clip is 3 s long, and 2 bars of 4/4 at 120 BPM last 4 s"):
        tiny_model.loop(clip, "rain", bars=2, bpm=120)
    with pytest.raises(RequestError, match="needs a tempo"):
        tiny_model.loop(clip, "rain", bars=2)


def test_the_tempo_of_a_source_is_known_from_its_record(tiny_model):
    clip = tiny_model.generate("kick, 120 BPM", seconds=3, seed=1)
    assert tiny_model.loop(clip, bars=1).record["loop"] == {"bpm": 120.0, "bars": 1, "meter": "4/4", "beats": 4}


def test_a_file_is_looped_without_reading_all_of_it(tiny_model, tmp_path):
    path = noise_clip(3).save(tmp_path / "a.wav", subtype="FLOAT")
    from_file, in_memory = (tiny_model.loop(clip, "rain", seed=1) for clip in (StreamedClip.open(path), noise_clip(3)))
    assert isinstance(from_file, StreamedClip)
    assert from_file.audio.tobytes() == in_memory.audio.tobytes()


def test_a_loop_with_regions_or_noise_is_refused():
    clip = noise_clip(1)
    for wrong in ({"regions": [(0.2, 0.4)]}, {"noise": 0.5}, {"offset": 1.0}):
        with pytest.raises(RequestError, match="a loop has no regions, noise or offset"):
            GenerationRequest("rain", source=clip, loop=True, **wrong)
    with pytest.raises(RequestError, match="a length in bars needs a tempo"):
        GenerationRequest("rain", source=clip, loop=True, bars=1)


# Resampling


def test_a_resampled_loop_still_repeats(tmp_path):
    times = np.arange(44100) / 44100
    wave = Clip(np.sin(2 * np.pi * 441 * times), 44100, {"soundloom": "1", "loop": {}})
    for rate in (22050, 48000, 96000):
        for clip in (wave, StreamedClip.open(wave.save(tmp_path / "a.wav", subtype="FLOAT"))):
            saved = Clip.load(clip.save(tmp_path / "b.wav", rate=rate, subtype="FLOAT"))
            steps = np.abs(np.diff(np.append(saved.audio[0], saved.audio[0, 0])))
            assert saved.samples == rate
            assert steps[-1] <= steps.max() * 1.001
            assert np.abs(saved.audio).max() < 1.001
