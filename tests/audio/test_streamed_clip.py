"""StreamedClip against Clip: both must return the same samples."""

import logging

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.audio.streamed_clip import AudioFile, PatchedAudio, StreamedClip
from soundloom.errors import AudioError, RequestError

RATE = 44100
KINDS = [
    ("wav", "PCM_U8"),
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_32"),
    ("wav", "FLOAT"),
    ("wav", "DOUBLE"),
    ("wav", "ULAW"),
    ("wav", "IMA_ADPCM"),
    ("aiff", "PCM_16"),
    ("caf", "ALAC_16"),
    ("w64", "PCM_24"),
    ("flac", "PCM_S8"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
    ("ogg", "VORBIS"),
    ("mp3", "MPEG_LAYER_III"),
]


def noise(samples, channels=2, peak=0.5, seed=0):
    return np.random.default_rng(seed).uniform(-peak, peak, (channels, samples)).astype(np.float32)


def sound_file(path, samples=200_000, channels=2, peak=0.5, **options):
    soundfile.write(path, noise(samples, channels, peak).T, options.pop("rate", RATE), **options)
    return path


@pytest.mark.parametrize(("ending", "subtype"), KINDS)
def test_any_span_of_a_file_is_that_of_the_loaded_clip(tmp_path, ending, subtype):
    path = sound_file(tmp_path / f"a.{ending}", subtype=subtype)
    loaded, streamed = Clip.load(path), StreamedClip.open(path)
    for name in ("channels", "samples", "seconds", "sample_rate", "source_format", "record"):
        assert getattr(streamed, name) == getattr(loaded, name), name
    random = np.random.default_rng(3)
    spans = [sorted(random.integers(0, loaded.samples + 1, 2)) for _ in range(8)]
    for start, stop in [*spans, (0, 0), (loaded.samples - 1, loaded.samples), (100, 150_000), (90, 110)]:
        np.testing.assert_array_equal(streamed.read(start, stop), loaded.audio[:, start:stop])
    assert streamed.audio.tobytes() == loaded.audio.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rate": 48000},
        {"loudness": -20},
        {"loudness": -3, "rate": 22050},
        {"subtype": "PCM_16"},
        {"subtype": "PCM_16", "peak": "clip"},
    ],
)
@pytest.mark.parametrize("peak", [0.5, 3.0])
def test_saving_a_streamed_clip_equals_saving_a_loaded_one(tmp_path, caplog, options, peak):
    path = sound_file(tmp_path / "a.wav", subtype="FLOAT", peak=peak)
    saved, said = [], []
    for read in (Clip.load, StreamedClip.open):
        caplog.clear()
        saved.append(Clip.load(read(path).save(tmp_path / "out.wav", **options)))  # whose header has the time
        said.append(caplog.messages)
    assert saved[0].audio.tobytes() == saved[1].audio.tobytes()
    assert saved[0].source_format == saved[1].source_format
    assert said[0] == said[1]


def test_methods_of_streamed_and_loaded_clips_agree(tmp_path):
    path = sound_file(tmp_path / "a.flac", channels=3)
    audio = Clip.load(path).audio[:2]
    for clip in (Clip.load(path), StreamedClip.open(path)):
        part = clip.cut(60_000, 190_000).mixed(2).cut(1_000, 70_001).with_record({"seed": 3})
        assert type(part) is type(clip)
        assert (part.channels, part.samples, part.source_format) == (2, 69_001, clip.source_format)
        assert part.record == {"seed": 3}
        expected = audio[:, 61_000:130_001]
        np.testing.assert_array_equal(part.audio, expected)
        np.testing.assert_array_equal(part.read(100, 68_000), expected[:, 100:68_000])
        np.testing.assert_array_equal(np.concatenate(list(part.blocks(100, 68_000)), axis=1), expected[:, 100:68_000])
        np.testing.assert_array_equal(np.concatenate(list(part.stream().blocks()), axis=1), expected)
        np.testing.assert_array_equal(part.mixed(1).audio, expected.mean(axis=0, keepdims=True))
        assert clip.cut(100, 10**9).samples == clip.samples - 100


def test_a_file_is_hashed_when_it_is_opened_and_a_part_of_it_once(tmp_path, monkeypatch):
    path = sound_file(tmp_path / "a.mp3")
    whole, loaded = StreamedClip.open(path), Clip.load(path)
    parts = [(clip.cut(10, 70_000), clip.mixed(1), clip.cut(0, 10**9)) for clip in (whole, loaded)]
    expected = [clip.sha256() for clip in (loaded, *parts[1])]
    for found in (whole, *parts[0][:2]):
        found.sha256()
    monkeypatch.setattr(AudioFile, "blocks", None)
    assert [clip.sha256() for clip in (whole, *parts[0])] == expected


@pytest.mark.parametrize("ending", ["wav", "mp3"])
def test_spans_beyond_a_clip_are_those_of_arrays(tmp_path, ending):
    path = sound_file(tmp_path / f"a.{ending}")
    streamed, loaded = (read(path).cut(1000, 1100) for read in (StreamedClip.open, Clip.load))
    for start, stop in [(-10, 50), (50, 200), (90, -5), (150, 160), (60, 40), (-500, 500), (-20, -10)]:
        np.testing.assert_array_equal(streamed.read(start, stop), loaded.read(start, stop))
        assert streamed.cut(start, stop).samples == loaded.cut(start, stop).samples
        np.testing.assert_array_equal(streamed.cut(start, stop).audio, loaded.cut(start, stop).audio)


def test_a_streamed_clip_is_loaded_as_it_is_opened(tmp_path):
    path = sound_file(tmp_path / "a.wav")
    clip = StreamedClip.load(str(path))
    assert type(clip) is StreamedClip
    np.testing.assert_array_equal(clip.audio, Clip.load(path).audio)
    with path.open("rb") as file, pytest.raises(RequestError, match="needs the path"):
        StreamedClip.load(file)


def test_streamed_and_loaded_files_raise_the_same_errors(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound here")
    (tmp_path / "data.raw").write_bytes(b"1234")
    soundfile.write(tmp_path / "silent.wav", np.zeros((0, 2)), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, np.inf]), RATE, subtype="FLOAT")
    cut = sound_file(tmp_path / "cut.flac")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for name in ("empty.wav", "text.wav", "data.raw", "silent.wav", "nan.wav", "cut.flac", "missing.wav", "."):
        said = []
        for read in (Clip.load, StreamedClip.open):
            with pytest.raises(AudioError) as caught:
                read(tmp_path / name)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_truncated_file_is_streamed_to_its_end_with_a_warning(tmp_path, caplog):
    path = sound_file(tmp_path / "a.mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        clip = StreamedClip.open(path)
    assert "is truncated" in caplog.text
    np.testing.assert_array_equal(clip.audio, Clip.load(path).audio)


def test_audio_with_damaged_tags_streams(tmp_path, caplog):
    path = Clip(noise(1000), RATE, {"seed": 1}).save(tmp_path / "a.mp3")
    path.write_bytes(path.read_bytes().replace(b'{"soundloom"', b'x"soundloom"'))
    with caplog.at_level(logging.WARNING):
        assert StreamedClip.open(path).record == {}
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("samples", [100, 200_000, 300_000])
def test_a_file_that_changed_is_rejected(tmp_path, samples):
    path = sound_file(tmp_path / "a.wav")
    clip = StreamedClip.open(path)
    sound_file(path, samples)
    with pytest.raises(AudioError, match="has changed since it was opened"):
        clip.read(0, 100)
    with pytest.raises(AudioError, match="has changed since it was opened"):
        clip.save(tmp_path / "b.wav")
    assert not (tmp_path / "b.wav").exists()


def test_the_source_is_preserved_outside_of_patches(tmp_path):
    path = sound_file(tmp_path / "a.wav", 150_000, channels=3, subtype="FLOAT")
    source = StreamedClip.open(path)
    sound = PatchedAudio(source, 2, 250_000, 70_000)
    expected = np.zeros((2, 250_000), np.float32)
    expected[:, 70_000:220_000] = source.audio[:2]
    random = np.random.default_rng(4)
    for seed, (start, stop) in enumerate([(0, 70_000), (60_000, 90_000), (65_000, 65_001), (219_000, 250_000)]):
        patch = noise(stop - start, seed=seed)
        sound.lay(start, patch)
        expected[:, start:stop] = patch
    for start, stop in [(0, 250_000), *(sorted(random.integers(0, 250_001, 2)) for _ in range(8))]:
        np.testing.assert_array_equal(sound.read(start, stop), expected[:, start:stop])
    np.testing.assert_array_equal(np.concatenate(list(sound.blocks(0, 250_000)), axis=1), expected)


def test_an_edited_clip_is_saved_with_its_record(tmp_path):
    source = StreamedClip.open(sound_file(tmp_path / "a.flac", subtype="PCM_16"))
    sound = PatchedAudio(source, 2, source.samples, 0)
    sound.lay(1000, np.zeros((2, 500), np.float32))
    clip = StreamedClip(sound, RATE, {"seed": 7}, source.source_format)
    path = clip.save(tmp_path / "b.flac")
    assert read_record(path)["seed"] == 7
    before, after = (soundfile.read(each, dtype="int16")[0] for each in (tmp_path / "a.flac", path))
    assert set(np.flatnonzero((before != after).any(axis=1))) <= set(range(1000, 1500))
    in_memory = clip.loaded()
    assert type(in_memory) is Clip
    np.testing.assert_array_equal(in_memory.audio, clip.audio)
