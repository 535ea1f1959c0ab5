import logging
import os
import signal
import struct
import sys

import numpy as np
import pytest
import soundfile

from soundloom.audio import write
from soundloom.audio.formats.containers import SourceFormat
from soundloom.audio.metadata import read_record, write_record
from soundloom.audio.read import read_audio
from soundloom.audio.write import AudioWriter, write_audio
from soundloom.errors import AudioError, WriteError

RATE = 44100
ENDINGS = ["wav", "flac", "ogg", "mp3"]


def noise(samples, channels=2, peak=0.5, seed=0):
    return np.random.default_rng(seed).uniform(-peak, peak, (channels, samples)).astype(np.float32)


def every_16_bit_value():
    return np.arange(-(2**15), 2**15, dtype=np.int32) << 16


def many_24_bit_values():
    values = np.random.default_rng(1).integers(-(2**23), 2**23, 300_000)
    edges = [-(2**23), 2**23 - 1, -1, 0, 1]
    return np.concatenate([values, edges]).astype(np.int32) << 8


@pytest.mark.parametrize("ending", ["wav", "flac"])
@pytest.mark.parametrize(("subtype", "values"), [("PCM_16", every_16_bit_value), ("PCM_24", many_24_bit_values)])
def test_integers_survive_reading_and_writing_bit_for_bit(tmp_path, ending, subtype, values):
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    soundfile.write(first, values(), RATE, subtype=subtype)
    audio, rate, source = read_audio(first)
    assert source == SourceFormat(ending.upper(), subtype)
    write_audio(second, audio, rate, source=source)
    again, _ = soundfile.read(second, dtype="int32")
    np.testing.assert_array_equal(again, values())
    assert soundfile.info(second).subtype == subtype


def test_float_files_keep_values_beyond_full_scale(tmp_path):
    audio = noise(1000, peak=3.0)
    assert write_audio(tmp_path / "a.wav", audio, RATE, subtype="FLOAT") == []
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], audio)


@pytest.mark.parametrize("ending", ENDINGS)
def test_length_rate_and_channels_survive(tmp_path, ending):
    audio = noise(100_001)
    write_audio(tmp_path / f"a.{ending}", audio, 48000)
    back, rate, _ = read_audio(tmp_path / f"a.{ending}")
    assert (back.shape, back.dtype, rate) == (audio.shape, np.float32, 48000)


def test_default_depth_is_24_bit(tmp_path):
    write_audio(tmp_path / "a.flac", noise(100), RATE)
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_24"


@pytest.mark.parametrize(
    ("read", "ending", "written"),
    [
        ("PCM_U8", "wav", "PCM_16"),
        ("DOUBLE", "wav", "FLOAT"),
        ("PCM_32", "wav", "FLOAT"),
        ("FLOAT", "flac", "PCM_24"),
        ("VORBIS", "wav", "PCM_24"),
    ],
)
def test_unsupported_depths_become_the_nearest(tmp_path, read, ending, written):
    write_audio(tmp_path / f"a.{ending}", noise(100), RATE, source=SourceFormat("WAV", read))
    assert soundfile.info(tmp_path / f"a.{ending}").subtype == written


def test_safe_peak_attenuates_the_clip_with_a_warning(tmp_path):
    audio = np.array([[0.5, -2.0, 1.0]], np.float32)
    warnings = write_audio(tmp_path / "a.wav", audio, RATE, subtype="PCM_16", record={"seed": 1})
    back, _, _ = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(back, audio / 2, atol=2**-15)
    assert "6.02 dB" in warnings[0]


def test_clip_peak_clips_and_counts(tmp_path):
    warnings = write_audio(tmp_path / "a.wav", np.array([[0.5, -2.0, 1.5]], np.float32), RATE, peak="clip")
    back, _, _ = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(back, np.array([[0.5, -1, 1 - 2**-23]], np.float32))
    assert "2 samples were clipped" in warnings[0]


def test_lossy_formats_are_clipped_before_encoding(tmp_path):
    write_audio(tmp_path / "a.ogg", noise(20_000, peak=5.0), RATE, peak="clip")
    assert np.abs(read_audio(tmp_path / "a.ogg")[0]).max() < 2


def test_writing_in_chunks_equals_writing_at_once(tmp_path):
    audio = noise(200_000)
    write_audio(tmp_path / "whole.flac", audio, RATE)
    with AudioWriter(tmp_path / "pieces.flac", RATE, 2) as out:
        for piece in np.array_split(audio, 7, axis=1):
            out.write(piece)
    assert (out.samples, out.peak) == (200_000, np.abs(audio).max())
    np.testing.assert_array_equal(read_audio(tmp_path / "pieces.flac")[0], read_audio(tmp_path / "whole.flac")[0])


def test_clipped_chunks_are_reported(tmp_path, caplog):
    loud = np.full((2, 100), 1.5, np.float32)
    for name, warned in (("cut.flac", True), ("whole.wav", False)):
        caplog.clear()
        subtype = None if warned else "FLOAT"
        with AudioWriter(tmp_path / name, RATE, 2, subtype=subtype, record={"mode": "decode"}) as out:
            out.write(loud)
        assert ("1.5 times full scale" in caplog.text) == warned
        assert ("1.5 times full scale" in str(read_record(tmp_path / name))) == warned


@pytest.fixture
def full_disk():
    """Limit files to 6 kB, which fails like a full disk."""
    resource = pytest.importorskip("resource", reason="limits of file size are a Unix matter")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("samples", [15_000, 400_000])  # less than the encoders hold back until they close, and more
def test_full_disk_leaves_the_old_file_alone(tmp_path, full_disk, ending, samples):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"old")
    with pytest.raises(WriteError, match="could not be written: File too large"):
        write_audio(path, noise(samples), RATE)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("method", ["write", "seek", "tell"])
def test_ctrl_c_inside_the_encoder_is_not_lost(tmp_path, monkeypatch, ending, method):
    plain = getattr(write._OutputFile, method)

    def interrupted(self, *arguments):
        monkeypatch.setattr(write._OutputFile, method, plain)
        signal.raise_signal(signal.SIGINT)
        return plain(self, *arguments)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(write._OutputFile, method, interrupted, raising=False)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_audio(tmp_path / f"a.{ending}", noise(10_000), RATE)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
    assert list(tmp_path.iterdir()) == []


def test_bad_values_are_counted_from_the_beginning_of_the_file(tmp_path):
    with (
        pytest.raises(AudioError, match="the first at sample 101"),
        AudioWriter(tmp_path / "a.wav", RATE, 1) as out,
    ):
        out.write(noise(100, channels=1))
        out.write(np.array([[0, np.inf]], np.float32))


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), AudioWriter(tmp_path / "a.wav", RATE, 2) as out:
        out.write(noise(100))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder that not even root can write to")
def test_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(WriteError, match=r"/proc/a\.wav could not be written"):
        write_audio("/proc/a.wav", noise(100), RATE)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.xyz", r"suffix \.xyz.*\n.*\.wav, \.flac, \.ogg, \.mp3"),
        ("a", "no suffix"),
        ("nowhere/a.wav", "there is no folder"),
        ("folder.wav", "is a folder"),
    ],
)
def test_names_that_cannot_be_written(tmp_path, name, sentence):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises((AudioError, WriteError), match=sentence):
        write_audio(tmp_path / name, noise(100), RATE)


@pytest.mark.parametrize(
    ("ending", "options", "sentence"),
    [
        ("mp3", {"sample_rate": 96000}, "MP3.*96000 Hz\n.*try 48000 Hz"),
        ("ogg", {"sample_rate": 384000}, "OGG.*384000 Hz"),
        ("mp3", {"audio": noise(10, channels=3)}, "MP3 files have 1 to 2 channels, not 3"),
        ("flac", {"audio": noise(10, channels=9)}, "FLAC files have 1 to 8 channels"),
        ("flac", {"subtype": "FLOAT"}, "FLAC files do not support FLOAT\n.*PCM_24, PCM_16"),
        (
            "wav",
            {"audio": np.array([[0, 1, np.nan]], np.float32)},
            "1 values that are not finite, the first at sample 2",
        ),
        ("wav", {"audio": noise(0)}, "no samples"),
        ("wav", {"peak": "loud"}, "must be safe or clip"),
    ],
)
def test_audio_that_cannot_be_written(tmp_path, ending, options, sentence):
    arguments = {"audio": noise(10), "sample_rate": RATE} | options
    with pytest.raises(AudioError, match=sentence):
        write_audio(tmp_path / f"a.{ending}", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_stay_when_overwriting_is_off(tmp_path):
    write_audio(tmp_path / "a.wav", noise(10), RATE)
    with pytest.raises(WriteError, match="already exists"):
        write_audio(tmp_path / "a.wav", noise(20), RATE, overwrite=False)
    assert read_audio(tmp_path / "a.wav")[0].shape == (2, 10)


def test_wav_files_are_limited_to_4_gib(tmp_path):
    with AudioWriter(tmp_path / "a.wav", RATE, 2) as out:
        out.samples = 2**32 // 6  # as if that many were written
        with pytest.raises(AudioError, match=r"4 GiB.*\n.*FLAC"):
            out.write(noise(100))


def test_files_that_are_not_audio(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound here")
    soundfile.write(tmp_path / "silent.wav", np.zeros((0, 2)), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, np.inf]), RATE, subtype="FLOAT")
    sentences = {
        "empty.wav": r"is empty \(0 bytes\)",
        "text.wav": "cannot be read as audio: Format not recogni",
        "silent.wav": "has no samples",
        "nan.wav": "2 values that are not finite, the first at sample 1",
        "missing.wav": "cannot be opened: No such file",
        ".": "cannot be opened: Is a directory",
    }
    for name, sentence in sentences.items():
        with pytest.raises(AudioError, match=sentence):
            read_audio(tmp_path / name)


def test_a_damaged_flac_file_is_rejected(tmp_path):
    path = tmp_path / "a.flac"
    write_audio(path, noise(100_000), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read_audio(path)


def test_a_truncated_file_is_read_with_a_warning(tmp_path, caplog):
    path = tmp_path / "a.mp3"
    write_audio(path, noise(200_000), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        audio, _, _ = read_audio(path)
    assert 0 < audio.shape[1] < 200_000
    assert "is truncated" in caplog.text


def chunk_names(data):
    """Return the chunk names of a RIFF file, whose sizes must add up exactly."""
    assert struct.unpack("<4sI4s", data[:12]) == (b"RIFF", len(data) - 8, b"WAVE")
    position, names = 12, []
    while position < len(data):
        name, size = struct.unpack("<4sI", data[position : position + 8])
        names.append(name)
        position += 8 + size + size % 2
    assert position == len(data)
    return names


@pytest.mark.parametrize("prompt", ["a", "ab", "abc", "abcd"])
def test_wav_headers_have_correct_sizes(tmp_path, prompt):
    path = tmp_path / "a.wav"
    write_audio(path, noise(333, channels=1), RATE, record={"prompt": prompt})
    assert {b"fmt ", b"data", b"LIST"} < set(chunk_names(path.read_bytes()))
    write_record(path, {"prompt": prompt})
    assert chunk_names(path.read_bytes()).count(b"LIST") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_rejected(tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    try:
        with pytest.raises(AudioError, match="is a pipe, but audio must be in a file"):
            read_audio(pipe)
    finally:
        os.close(writer)
