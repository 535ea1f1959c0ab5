"""Trimming, fades and levels of clips in memory and of clips whose samples stay in a file."""

import math

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.finish import Finish
from soundloom.audio.levels import Level
from soundloom.audio.loudness import integrated_loudness, true_peak
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.errors import RequestError

RATE = 8000
RECORD = {"mode": "generate", "prompt": "rain"}


def burst(before=1.0, sound=0.5, after=0.8, level=0.5, floor=0.0, channels=2) -> Clip:
    """A tone that is followed and preceded by a noise floor, on one of the channels."""
    lengths = [round(seconds * RATE) for seconds in (before, sound, after)]
    audio = np.random.default_rng(0).uniform(-floor, floor, (channels, sum(lengths)))
    tone = level * np.sin(2 * np.pi * 440 * np.arange(lengths[1]) / RATE + 1)
    audio[-1, lengths[0] : lengths[0] + lengths[1]] = tone
    return Clip(audio.astype(np.float32), RATE, RECORD)


@pytest.fixture
def in_file(tmp_path):
    """Return a clip whose samples stay in a file, and its samples."""

    def write(clip: Clip) -> StreamedClip:
        clip.save(tmp_path / "in.wav", subtype="FLOAT")
        return StreamedClip.open(tmp_path / "in.wav")

    return write


def test_trimming_keeps_the_sound_and_a_margin(in_file):
    clip = burst(floor=1e-4)
    for each in (clip, in_file(clip)):
        trimmed = each.trimmed()
        assert trimmed.seconds == pytest.approx(0.5 + 2 * 0.01, abs=0.001)
        start = round(trimmed.record["finish"]["trim_silence"]["start"] * RATE)
        assert np.array_equal(trimmed.audio, clip.audio[:, start : start + trimmed.samples])
    found = trimmed.record["finish"]["trim_silence"]
    assert found == {
        "threshold": -60.0,
        "margin": 0.01,
        "start": pytest.approx(0.99, abs=0.001),
        "end": pytest.approx(0.79, abs=0.001),
    }


def test_the_threshold_is_relative_to_the_peak():
    for level in (1.0, 1e-3):
        assert burst(level=level, floor=level / 500).trimmed(-40).seconds == pytest.approx(0.52, abs=0.001)
        assert burst(level=level, floor=level / 500).trimmed(-60).seconds == pytest.approx(2.3, abs=0.001)


def test_the_margin_and_the_shortest_length_stay_inside_the_clip():
    clip = burst()
    assert clip.trimmed(margin=0).seconds == pytest.approx(0.5, abs=0.001)
    assert clip.trimmed(margin=99).samples == clip.samples
    assert clip.trimmed(margin=0, at_least=0.7).samples == round(0.7 * RATE)
    assert clip.trimmed(at_least=99).samples == clip.samples
    end = burst(after=0.0).trimmed(margin=0, at_least=0.7)  # there is nothing after the sound
    assert end.samples == round(0.7 * RATE)
    assert np.abs(end.audio[:, -1]).max() > 0.01


@pytest.mark.parametrize("audio", [np.zeros((2, 100)), np.zeros((1, 0)), np.full((1, 50), 1e-9)])
def test_nothing_is_trimmed_to_nothing(audio):
    clip = Clip(audio.astype(np.float32), RATE)
    assert clip.trimmed().samples == clip.samples
    assert clip.trimmed().record == {}


@pytest.mark.parametrize("threshold", [0, 3, math.nan, -math.inf, "loud", None, True])
def test_invalid_thresholds(threshold):
    with pytest.raises(RequestError, match="threshold of silence must be below 0 dB"):
        burst().trimmed(threshold)


@pytest.mark.parametrize("seconds", [-0.1, math.nan, math.inf, "long", None])
def test_invalid_durations(seconds):
    for call in (
        lambda: burst().trimmed(margin=seconds),
        lambda: burst().faded(seconds),
        lambda: Finish(margin=seconds),
    ):
        with pytest.raises(RequestError, match="must be 0 seconds or more"):
            call()


def test_fades_are_raised_cosines(in_file):
    flat = Clip(np.ones((2, RATE), np.float32), RATE, RECORD)
    for clip in (flat, in_file(flat)):
        faded = clip.faded(0.25, 0.5)
        assert faded.record["finish"] == {"fade_in": 0.25, "fade_out": 0.5}
        for length, fade in ((2000, faded.audio[0]), (4000, faded.audio[0, ::-1])):
            expected = np.sin(np.pi / 2 * (np.arange(length) + 0.5) / length) ** 2
            assert np.allclose(fade[:length], expected, atol=1e-6)
        assert (faded.audio[:, 2000:4000] == 1).all()
    assert flat.audio.min() == 1


def test_fades_of_long_files_do_not_depend_on_blocks(in_file):
    sound = Clip(np.random.default_rng(1).uniform(-1, 1, (1, 200_000)).astype(np.float32), RATE)
    whole = sound.cut(50, 190_000).faded(9, 13).audio
    assert np.array_equal(in_file(sound).cut(50, 190_000).faded(9, 13).audio, whole)


def test_fades_may_meet_but_not_overlap():
    clip = burst(before=0, sound=1, after=0)
    clip.faded(0.5, 0.5)
    assert clip.faded() is clip
    with pytest.raises(RequestError, match=r"fades of 0.6 and 0.5 s are longer than the clip of 1 s"):
        clip.faded(0.6, 0.5)
    with pytest.raises(RequestError, match="longer than the clip"):
        clip.faded(1e300)


def test_loops_are_neither_trimmed_nor_faded():
    loop = burst().with_record({**RECORD, "loop": {"bpm": 120, "bars": 1}})
    for change in (loop.trimmed, lambda: loop.faded(0, 0.1), lambda: Finish(trim_silence=True).shaped(loop)):
        with pytest.raises(RequestError, match="the clip is a loop"):
            change()


@pytest.mark.parametrize("rate", [None, 11025])
def test_levels_are_reached_at_the_rate_of_the_file(tmp_path, rate):
    clip = burst(sound=2, level=0.1)

    def saved(level):
        path = clip.save(tmp_path / "x.wav", normalize=level, rate=rate, subtype="FLOAT")
        return soundfile.read(path, dtype="float32", always_2d=True)[0].T, rate or RATE

    assert integrated_loudness(*saved("-30lufs")) == pytest.approx(-30, abs=0.05)
    assert true_peak(*saved("-1dBTP")) == pytest.approx(-1, abs=0.01)
    assert np.abs(saved("-3 dB")[0]).max() == pytest.approx(10 ** (-3 / 20), abs=1e-5)


def test_loudness_means_the_same_as_a_level_in_lufs(tmp_path):
    clip = burst(level=0.1)
    same = [clip.to_bytes(**options) for options in ({"loudness": -30}, {"normalize": "-30lufs"})]
    assert same[0] == same[1]
    with pytest.raises(RequestError, match="both set the level"):
        clip.to_bytes(loudness=-30, normalize="-1dbtp")


def test_silence_keeps_its_level():
    silent = Clip(np.zeros((1, RATE), np.float32), RATE)
    for level in ("-16lufs", "-1dbtp", "-3db"):
        assert not np.any(soundfile.read(_file(silent.to_bytes(normalize=level)))[0])


@pytest.mark.parametrize("text", ["", "loud", "-16", "lufs", "-16 lkfs", "1e3db", "--3db", "nandb", None, -16, "٣db"])
def test_unknown_levels(text):
    with pytest.raises(RequestError, match="is not a level\nhint: -16lufs is a loudness"):
        Level.parse(text)


@pytest.mark.parametrize("text", ["3db", "+1dbtp", "-71lufs", "-999999999lufs"])
def test_levels_out_of_range(text):
    with pytest.raises(RequestError, match="a level must be -70 to 0"):
        Level.parse(text)


def test_a_finish_trims_then_fades_and_is_recorded():
    finish = Finish(trim_silence=True, fade_in=0.1, fade_out=0.2, normalize="-16 LUFS", true_peak=-2)
    shaped = finish.shaped(burst())
    by_hand = burst().trimmed().faded(0.1, 0.2)
    assert np.array_equal(shaped.audio, by_hand.audio)
    assert shaped.record["finish"] == {**by_hand.record["finish"], "normalize": "-16lufs", "true_peak": -2}
    assert Finish.from_record(shaped.record) == Finish(True, -60.0, 0.01, 0.1, 0.2, "-16lufs", -2)
    assert Finish.from_record(RECORD) == Finish()
    assert Finish().shaped(burst()).record == RECORD


def test_trimming_leaves_room_for_the_fades():
    shaped = Finish(trim_silence=True, fade_in=0.1, fade_out=0.5).shaped(burst(sound=0.02))
    assert shaped.samples == round(0.6 * RATE)


@pytest.mark.parametrize(
    "found",
    [
        *(7, [], {"fade_in": "x"}, {"normalize": 3}, {"normalize": "x"}, {"trim_silence": {}}, {"trim_silence": 1}),
        *({"fade_out": -1}, {"fade_out": None}, {"true_peak": "x"}, {"trim_silence": {"threshold": 5, "margin": 0}}),
    ],
)
def test_damaged_records_are_rejected(found):
    with pytest.raises(RequestError):
        Finish.from_record({**RECORD, "finish": found})


def _file(data):
    from io import BytesIO

    return BytesIO(data)
