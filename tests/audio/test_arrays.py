"""Clips from arrays, parts of clips, joins and conversions."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.records import digital_source_type
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.errors import AudioError, RequestError
from soundloom.version import __version__

RATE = 8000
RECORD = {
    "mode": "generate",
    "model": "mini",
    "model_hash": "abc",
    "license": "MIT",
    "seed": 3,
    "request": {"prompt": "rain"},
}
NAN, INF = float("nan"), float("inf")


def ramp(seconds=4.0, channels=2, record=None, rate=RATE):
    audio = np.arange(round(seconds * rate), dtype=np.float32) / (seconds * rate)
    return Clip(np.stack([audio * (1 - 2 * i) for i in range(channels)]), rate, record or {})


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((100,), (1, 100)),
        ((2, 100), (2, 100)),
        ((100, 2), (2, 100)),
        ((2, 2), (2, 2)),
        ((6, 100), (6, 100)),
        ((9, 1), (1, 9)),
    ],
)
def test_arrays_of_all_shapes(shape, wanted):
    values = np.linspace(-0.5, 0.5, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    clip = Clip.from_array(values, RATE)
    assert clip.audio.shape == wanted
    expected = values.reshape(wanted) if shape == wanted or len(shape) == 1 else values.T
    assert np.array_equal(clip.audio, expected)
    values[...] = 0
    assert clip.audio.any()  # a copy


@pytest.mark.parametrize(
    ("dtype", "values", "wanted"),
    [
        ("int16", [-32768, 0, 16384], [-1, 0, 0.5]),
        ("int32", [-(2**31), 0, 2**30], [-1, 0, 0.5]),
        ("int8", [-128, 0, 64], [-1, 0, 0.5]),
        ("uint8", [0, 128, 192], [-1, 0, 0.5]),
        ("uint16", [0, 32768, 49152], [-1, 0, 0.5]),
        ("float16", [-1, 0, 0.5], [-1, 0, 0.5]),
        ("float64", [-1, 0, 1.5], [-1, 0, 1.5]),
    ],
)
def test_types_are_scaled_as_files_are(dtype, values, wanted):
    assert Clip.from_array(np.array(values, dtype), RATE).audio.tolist() == [wanted]


def test_integers_are_scaled_as_soundfile_does(tmp_path):
    values = np.random.default_rng(0).integers(-32768, 32767, (500, 2), np.int16)
    soundfile.write(tmp_path / "a.wav", values, RATE, subtype="PCM_16")
    assert np.array_equal(Clip.from_array(values, RATE).audio, Clip.load(tmp_path / "a.wav").audio)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 2, 3)), r"one or two axes.*found the shape \(1, 2, 3\)"),
        (np.float32(1), r"found the shape \(\)"),
        (np.zeros((0, 5)), "found the shape"),
        (np.zeros(5, np.int64), "found int64"),
        (np.zeros(5, bool), "found bool"),
        (np.zeros(5, complex), "found complex128"),
        (["a", "b"], "found <U1"),
        ([[1.0, NAN]], "not finite"),
        ([1e300], "not finite"),
        (None, r"found the shape \(\)"),
    ],
)
def test_other_arrays_are_rejected(array, message):
    with pytest.raises(AudioError, match=message):
        Clip.from_array(array, RATE)


@pytest.mark.parametrize("rate", [0, -1, 44100.5, NAN, INF, "44100", None, True])
def test_nonsensical_rates_are_rejected(rate):
    with pytest.raises(RequestError, match="a sample rate must be a positive integer"):
        Clip.from_array(np.zeros(5), rate)


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (slice(1.0, 2.5), (8000, 20000)),
        (slice(1, 2), (8000, 16000)),
        (slice(None, 1.5), (0, 12000)),
        (slice(-1.5, None), (20000, 32000)),
        (slice(-2, -1), (16000, 24000)),
        (slice(3, 99), (24000, 32000)),
        (slice(-99, 1), (0, 8000)),
        (slice(2, 1), (16000, 16000)),
        (slice(5, 6), (32000, 32000)),
        (slice(None, INF), (0, 32000)),
        (slice(-INF, 1e300), (0, 32000)),
        (slice(np.float32(0.5), np.int64(1)), (4000, 8000)),
        (slice(0.00006, 1), (0, 8000)),  # rounds to the nearest sample
    ],
)
def test_slices_count_seconds(seconds, span, tmp_path):
    clip = ramp()
    assert np.array_equal(clip[seconds].audio, clip.audio[:, slice(*span)])
    path = clip.save(tmp_path / "a.wav", subtype="FLOAT")
    part = StreamedClip.open(path)[seconds]
    assert np.array_equal(part.audio, clip.audio[:, slice(*span)])


@pytest.mark.parametrize(
    "seconds", [1.0, "1", None, (0, 1), Ellipsis, slice("a", None), slice(NAN, 1), slice(True, 2), slice(0, 2, 1)]
)
def test_other_indices_are_rejected(seconds):
    with pytest.raises(RequestError, match="slice"):
        ramp()[seconds]


def test_a_clip_is_not_iterable():
    with pytest.raises(TypeError, match="not iterable"):
        list(ramp())


def test_the_record_of_a_part_says_so():
    record = {**RECORD, "loop": {"bpm": 120}, "warnings": ["w"]}
    part = ramp(record=record)[1.0:3.5]
    assert part.record == {"soundloom": __version__, **RECORD, "warnings": ["w"], "mode": "trim", "trim": [1.0, 3.5]}
    assert part[0.5:1.0].record["trim"] == [1.5, 2.0]  # of the clip that the request describes
    whole = ramp(record=record)
    assert whole[:] is whole
    assert ramp()[1:2].record == {}
    assert digital_source_type(part.record) == "trainedAlgorithmicMedia"


def test_joins_follow_each_other():
    one, two = ramp(1.0), ramp(0.5, channels=1)
    both = one + two
    assert both.samples == 12000
    assert np.array_equal(both.audio[:, :8000], one.audio)
    assert np.array_equal(both.audio[:, 8000:], np.repeat(two.audio, 2, axis=0))
    assert np.array_equal((two + one).audio[:, :4000], np.repeat(two.audio, 2, axis=0))
    assert both.record == {}


def test_the_record_of_a_join_lists_its_parts():
    one, two = ramp(1.0, record={**RECORD, "loop": {"bpm": 120}}), ramp(0.5)
    record = (one + one[0.5:] + two).record
    facts = {"model": "mini", "model_hash": "abc", "license": "MIT", "seed": 3, "prompt": "rain"}
    trained = {"digital_source_type": "trainedAlgorithmicMedia"}
    assert record == {
        "soundloom": __version__,
        "mode": "join",
        "parts": [
            {"seconds": 1.0, "mode": "generate", **facts, **trained},
            {"seconds": 0.5, "mode": "trim", "trim": [0.5, 1.0], **facts, **trained},
            {"seconds": 0.5},
        ],
    }
    assert digital_source_type(record) == "compositeSynthetic"
    assert digital_source_type((one + one).record) == "trainedAlgorithmicMedia"
    part = ((one + two)[0.5:1.2] + two).record["parts"]
    assert part[0] == {"seconds": 0.7, "mode": "trim", "trim": [0.5, 1.2], "digital_source_type": "compositeSynthetic"}


def test_joins_and_parts_survive_a_file(tmp_path):
    both = ramp(1.0, record=RECORD) + ramp(0.5)
    assert Clip.load(both.save(tmp_path / "a.wav")).record["parts"] == both.record["parts"]


def test_joins_that_cannot_be(tmp_path):
    with pytest.raises(AudioError, match=r"clips of 8000 and 16000 Hz cannot be joined\nhint: resample .*rate=8000"):
        ramp() + ramp(rate=16000)
    with pytest.raises(AudioError, match="cannot convert 2 channels to 6"):
        ramp() + ramp(channels=6)
    for other in (5, None, np.zeros((2, 5))):
        with pytest.raises(TypeError):
            ramp() + other


def test_a_join_keeps_the_format_that_both_have(tmp_path):
    path = ramp(1.0).save(tmp_path / "a.wav", subtype="PCM_16")
    loaded = Clip.load(path)
    assert (loaded + loaded).source_format == loaded.source_format
    assert (loaded + ramp()).source_format is None


def test_conversions_match_those_of_files(tmp_path):
    clip = ramp(1.0, record=RECORD)
    other = clip.to(rate=12000, channels=1)
    assert (other.sample_rate, other.channels, other.samples) == (12000, 1, 12000)
    assert other.record == RECORD
    path = clip.mixed(1).save(tmp_path / "a.wav", rate=12000, subtype="FLOAT")
    assert np.array_equal(other.audio, Clip.load(path).audio)
    assert np.array_equal(StreamedClip.open(path).to(rate=8000).audio, Clip.load(path).to(rate=8000).audio)
    assert clip.to() is clip and clip.to(rate=RATE) is clip
    assert clip[1:1].to(rate=16000).samples == 0


def test_loops_stay_loops():
    clip = ramp(1.0, record={**RECORD, "loop": {"bpm": 120}})
    assert clip.to(rate=11025).samples == 11025
    assert clip.to(rate=11025).record["loop"] == {"bpm": 120}


@pytest.mark.parametrize("value", [0, -1, 1.5, NAN, "2", True, [2]])
def test_nonsensical_conversions_are_rejected(value):
    for name in ("rate", "channels"):
        with pytest.raises(RequestError, match="must be a positive integer"):
            ramp().to(**{name: value})


def test_conversions_that_cannot_be():
    with pytest.raises(AudioError, match="cannot convert 2 channels to 3"):
        ramp().to(channels=3)
    with pytest.raises(AudioError, match="sample rate of 1000000000 Hz"):
        ramp().to(rate=10**9)
