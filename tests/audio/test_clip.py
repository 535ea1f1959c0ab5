import logging

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.formats.containers import SourceFormat
from soundloom.audio.loudness import integrated_loudness
from soundloom.errors import AudioError

RATE = 44100
RECORD = {"prompt": "a bell", "seed": 3, "model": "mini"}


def clip(peak=0.5, seconds=1.0, **fields):
    wave = peak * np.sin(2 * np.pi * 441 * np.arange(int(seconds * RATE)) / RATE)
    return Clip(np.stack([wave, -wave]), RATE, **fields)


def test_construction_converts_to_float32_and_adds_the_channel_axis():
    mono = Clip(np.zeros(RATE // 2), RATE)
    assert (mono.audio.dtype, mono.audio.shape) == (np.float32, (1, RATE // 2))
    assert (mono.channels, mono.samples, mono.seconds, mono.record) == (1, RATE // 2, 0.5, {})


@pytest.mark.parametrize(
    ("audio", "rate", "sentence"),
    [
        (np.zeros((1, 2, 3)), RATE, r"found the shape \(1, 2, 3\)"),
        (np.zeros((0, 5)), RATE, "found the shape"),
        (np.zeros((2, 5), np.int16), RATE, "found int16"),
        (np.zeros((RATE, 2)), RATE, r"shape \(44100, 2\) looks like \(samples, channels\)\nhint: pass array.T"),
        (np.zeros((9, 1)), RATE, "looks like"),
        (np.zeros((RATE, 8)), RATE, "looks like"),
        (np.zeros((RATE, 16)), RATE, "looks like"),
        (np.zeros((2, 5)), 0, "found 0"),
        (np.zeros((2, 5)), 44100.5, "found 44100.5"),
    ],
)
def test_invalid_arrays_are_rejected(audio, rate, sentence):
    with pytest.raises(AudioError, match=sentence):
        Clip(audio, rate)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 0), (8, 1), (16, 9), (1024, 9), (2000, 3000)])
def test_few_samples_of_many_channels_are_a_clip(shape):
    assert Clip(np.zeros(shape), RATE).audio.shape == shape


def test_repr_shows_length_and_prompt():
    assert repr(clip()) == "Clip(seconds=1.0, channels=2, sample_rate=44100)"
    assert repr(clip(record=RECORD)) == "Clip(seconds=1.0, channels=2, sample_rate=44100, prompt='a bell')"
    long = repr(clip(record={"request": {"prompt": "bell\n" * 100}}))
    assert "prompt='bell\\nbell" in long and long.endswith("…')") and len(long) < 150
    assert "prompt" not in repr(clip(record={"request": {"prompt": 5}}))


def test_saved_clips_can_be_loaded(tmp_path):
    path = clip(record=RECORD).save(tmp_path / "a.flac")
    back = Clip.load(path)
    np.testing.assert_allclose(back.audio, clip().audio, atol=2**-23)
    assert (back.sample_rate, back.source_format) == (RATE, SourceFormat("FLAC", "PCM_24"))
    assert RECORD.items() <= back.record.items()


def test_an_edit_keeps_the_bit_depth_of_its_source(tmp_path):
    clip().save(tmp_path / "a.wav", subtype="PCM_16")
    path = Clip.load(tmp_path / "a.wav").save(tmp_path / "b.flac")
    assert soundfile.info(path).subtype == "PCM_16"


def test_saving_at_another_rate(tmp_path):
    path = clip(seconds=0.5).save(tmp_path / "a.wav", rate=48000)
    assert (Clip.load(path).sample_rate, Clip.load(path).samples) == (48000, 24000)


def test_saving_at_a_loudness(tmp_path):
    back = Clip.load(clip(peak=0.01, seconds=2).save(tmp_path / "a.wav", loudness=-20))
    assert integrated_loudness(back.audio, RATE) == pytest.approx(-20, abs=0.01)


def test_changes_of_gain_are_logged_and_recorded(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        path = clip(peak=2.0, record=RECORD | {"warnings": ["first"]}).save(tmp_path / "a.wav", sidecar=True)
    warnings = Clip.load(path).record["warnings"]
    assert warnings[0] == "first"
    assert "attenuated by 6.02 dB" in warnings[1]
    assert warnings[1] in caplog.text
    path.unlink()
    assert warnings[1] in (tmp_path / "a.json").read_text()


def test_an_unreachable_loudness_is_reported(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        path = clip(record=RECORD).save(tmp_path / "a.wav", loudness=0)
    assert "0 LUFS would exceed -1 dBTP" in caplog.text
    assert Clip.load(path).record["warnings"][0] in caplog.text


def test_clips_without_a_record_get_no_tags(tmp_path):
    path = clip().save(tmp_path / "a.wav")
    assert path.stat().st_size == 44 + 2 * RATE * 3
    assert Clip.load(path).record == {}


def test_audio_with_damaged_tags_loads(tmp_path, caplog):
    path = clip(record=RECORD).save(tmp_path / "a.mp3")
    path.write_bytes(path.read_bytes().replace(b'{"soundloom"', b'x"soundloom"'))
    with caplog.at_level(logging.WARNING):
        assert Clip.load(path).record == {}
    assert "is damaged" in caplog.text
