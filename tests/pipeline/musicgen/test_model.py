"""Test MusicGen and Instruct-MusicGen from request to audio, with tiny random models."""

from __future__ import annotations

from importlib.util import find_spec
from threading import Event

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.checkpoints.musicgen.open import open_musicgen
from soundloom.config.musicgen.model import published_musicgen
from soundloom.config.musicgen.request import MusicRequest
from soundloom.engines.registry import music_engine_class
from soundloom.errors import Canceled, RequestError
from soundloom.pipeline import plan as plan_module
from soundloom.pipeline.musicgen import executor
from soundloom.pipeline.musicgen.executor import mono_at_rate
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen

EDITOR, PLAIN = (tiny_musicgen(published_musicgen("large", instruct=instruct)) for instruct in (True, False))
STEREO = tiny_musicgen(published_musicgen("small", stereo=True))
CONFIGS = {"editor": EDITOR, "plain": PLAIN, "stereo": STEREO}
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("torch", "mlx")
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return the folder of a tiny model, created once."""
    folders = {}

    def get(name):
        if name not in folders:
            folders[name] = make_musicgen(CONFIGS[name], tmp_path_factory.mktemp(name))
        return folders[name]

    return get


@pytest.fixture
def model(folder):
    def load(name="editor", engine="torch"):
        checkpoint = open_musicgen(folder(name))
        return MusicModel(checkpoint, music_engine_class(engine)(checkpoint, "cpu", "fp32"))

    return load


def sound(seconds, rate=32000, channels=1, seed=0):
    """Return noise whose level rises and falls."""
    samples = round(seconds * rate)
    level = 0.5 + 0.5 * np.sin(np.arange(samples) / rate * 7)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples))
    return Clip((noise * level).astype(np.float32), rate)


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"),
    [(0.02, 32000, 1), (0.7, 44100, 2), (1.0, 22050, 1), (2.6, 48000, 2), (1.3, 7919, 3)],
)
def test_an_edit_has_the_rate_length_and_channels_of_its_source(model, seconds, rate, channels):
    clip = sound(seconds, rate, channels)
    edited = model().edit(clip, "Only drums", window=1.0, seed=1)
    assert (edited.sample_rate, edited.audio.shape) == (rate, clip.audio.shape)
    assert np.isfinite(edited.audio).all()
    assert np.abs(edited.audio).max() > 0
    assert np.array_equal(edited.audio, np.repeat(edited.audio[:1], channels, axis=0))


def test_paths_are_edited_and_encoded(model, tmp_path):
    path, editor = sound(0.1, channels=2).save(tmp_path / "in.wav"), model()
    edits = [editor.edit(source, "Only drums", seed=7).audio for source in (path, Clip.load(path))]
    assert edits[0].tobytes() == edits[1].tobytes()
    assert (editor.encode(str(path)) == editor.encode(Clip.load(path))).all()


def test_a_single_sample_is_edited(model):
    assert model().edit(Clip(np.array([[0.3]], np.float32), 44100), "No bass", seed=1).samples == 1


def test_silence_can_be_edited(model):
    edited = model().edit(Clip(np.zeros((2, 9000), np.float32), 16000), "Add piano", seed=1)
    assert edited.audio.shape == (2, 9000)


def test_the_record_has_the_text_and_the_sampling_settings(model):
    edited = model().edit(sound(0.3), "Remove the piano", seed=5, temperature=0.9, top_p=0.8)
    assert edited.record["understood"] == "Music piece. Instruct: No Piano."
    assert edited.record["mode"] == "edit"
    wanted = {"prompt": "Remove the piano", "seed": 5, "temperature": 0.9, "top_k": 100, "top_p": 0.8, "guidance": 3.0}
    assert edited.record["request"] == wanted | {"raw": False}
    assert "warnings" not in edited.record


def test_untrained_instructions_and_long_windows_are_noted(model):
    edited = model().edit(sound(0.3), "Remove the vocals", seed=5, window=8)
    assert [note.split(",")[0] for note in edited.record["warnings"]] == [
        "the model was not trained on 'Music piece. Instruct: No Vocals.'",
        "the model was trained on 5 s; windows of 8 s are beyond that",
    ]


def test_an_edit_depends_on_its_seed_and_not_on_its_batch(model):
    clip, words = sound(1.4), ["Only drums", "Get rid of the whole percussion section", "No bass"]
    together = model().edit(clip, words, seed=[3, 4, 5], window=1.0)
    alone = model().edit(clip, words[1], seed=4, window=1.0)
    assert np.allclose(together[1].audio, alone.audio, atol=1e-5)
    assert not np.allclose(together[0].audio, together[2].audio, atol=1e-3)
    assert not np.allclose(alone.audio, model().edit(clip, words[1], seed=5, window=1.0).audio, atol=1e-3)


def test_the_edit_depends_on_the_source_and_on_the_instruction(model):
    first, again, other = (model().edit(sound(0.5, seed=i), "Only drums", seed=1).audio for i in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)
    assert not np.allclose(first, model().edit(sound(0.5), "No piano", seed=1).audio, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_generate_equal_tokens_from_equal_seeds(model, engine):
    ours, reference = (model("editor", name) for name in (engine, "torch"))
    clip = sound(1.3)
    edits = [each.edit(clip, "Only drums", seed=7, window=1.0).audio for each in (ours, reference)]
    assert np.abs(edits[0] - edits[1]).max() <= 1e-4 * np.abs(edits[1]).max()


def test_music_of_any_length_is_generated(model):
    short, long = model("plain").generate(["a piano", "drums"], seconds=[0.5, 1.23], seed=2)
    assert (short.samples, long.samples, short.sample_rate) == (16000, 39360, 32000)
    assert [clip.record["seed"] for clip in (short, long)] == [2, 3]
    assert short.record["request"]["seconds"] == 0.5
    assert np.array_equal(model("plain").generate("drums", seconds=1.23, seed=3).audio, long.audio)


def test_stereo_models_generate_two_channels(model):
    clip = model("stereo").generate("a piano", seconds=0.4, seed=2)
    assert clip.audio.shape == (2, 12800)
    assert not np.array_equal(clip.audio[0], clip.audio[1])


def test_encoded_clips_can_be_decoded(model):
    editor, clip = model(), sound(0.5, 44100, 2)
    codes = editor.encode(clip)
    assert codes.shape == (4, 25)
    assert editor.decode(codes).samples == 16000
    with pytest.raises(RequestError, match="between 0 and 63"):
        editor.decode(codes + 64)


def test_progress_counts_seconds_and_can_be_stopped(model):
    events, stop = [], Event()
    model().edit(sound(2.2), "Only drums", seed=1, window=1.0, progress=events.append)
    stages = dict.fromkeys(event.stage for event in events)
    assert list(stages) == ["text", "encode", "tokens", "decode"]
    seconds = [event.step for event in events if event.stage == "tokens"]
    assert seconds == sorted(seconds) and set(seconds) == {0, 1, 2, 3}

    def stop_at(event):
        if event.stage == "tokens" and event.step == 1:
            stop.set()

    with pytest.raises(Canceled, match="stage tokens"):
        model().edit(sound(2.2), "Only drums", seed=1, window=1.0, progress=stop_at, cancel=stop)


@pytest.mark.parametrize(
    ("name", "work", "sentence"),
    [
        ("plain", lambda m: m.edit(sound(0.1), "Only drums"), "no adapter"),
        ("editor", lambda m: m.generate("a piano"), "none to edit"),
        ("editor", lambda m: m.edit(sound(0.1), "Only drums", window=11), "2 to 500 frames"),
        ("editor", lambda m: m.edit(sound(0.1), "Only"), "names no instrument"),
        ("editor", lambda m: m.edit(sound(0.1), "Only drums", temperature=-1), "temperature"),
        ("editor", lambda m: m.edit(sound(0.1), "Only drums", seed=-1), "seed"),
        ("editor", lambda m: m.edit(Clip(np.zeros((1, 0), np.float32), 8000), "Only drums"), "no samples"),
        ("plain", lambda m: m.generate(["a", "b"], seconds=[1.0]), "2 prompts"),
        ("plain", lambda m: m.generate("a", seconds=1e-6), "less than one sample"),
    ],
)
def test_invalid_requests_raise_an_error(model, name, work, sentence):
    with pytest.raises(RequestError, match=sentence):
        work(model(name))


def test_networks_are_freed_on_cancel_and_after_encode_and_decode(model):
    editor, cancel = model(), Event()
    cancel.set()
    with pytest.raises(Canceled):
        editor.edit(sound(0.2), "Only drums", cancel=cancel)
    assert not editor.engine._modules
    codes = editor.encode(sound(0.2))
    assert not editor.engine._modules
    editor.decode(codes)
    assert not editor.engine._modules


def test_clips_are_yielded_by_group_and_networks_stay_loaded_in_between(model, monkeypatch):
    monkeypatch.setattr(plan_module, "MAX_BATCH", 2)
    composer = model("plain")
    freed, free = [], composer.engine.free
    monkeypatch.setattr(composer.engine, "free", lambda *names: freed.extend(names) or free(*names))
    requests = [MusicRequest("a piano", seconds=length, seed=seed) for seed, length in enumerate((0.2, 0.2, 0.4, 0.2))]
    events = []
    clips = composer.iter(requests, progress=events.append)
    assert [next(clips)[0], next(clips)[0]] == [0, 1]
    assert (freed, {event.clip for event in events}) == ([], {1})
    rest = dict(clips)
    assert list(rest) == [3, 2]
    assert set(freed) >= {"text", "lm", "codec"}
    assert ({event.clip for event in events}, {event.clips for event in events}) == ({1, 3, 4}, {4})
    alone = composer.run(requests[3:])[0]
    assert np.abs(rest[3].audio - alone.audio).max() < 1e-3


def test_a_source_is_read_and_encoded_once(model, monkeypatch):
    calls = []
    monkeypatch.setattr(executor, "mono_at_rate", lambda *args: calls.append(1) or mono_at_rate(*args))
    assert len(model().edit(sound(0.1), ["Only drums", "No bass", "Only drums"], seed=1)) == 3
    assert len(calls) == 1
