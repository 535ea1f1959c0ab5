"""Records with wrong types, unknown fields and hostile values, in requests, tags and sidecars."""

import json
from pathlib import Path

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.audio.write import write_audio
from soundloom.cli.commands.audio.generate import Options, run
from soundloom.config.catalogue import require_entry
from soundloom.config.entries import DEFAULT_SECONDS
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import AudioError, RequestError
from soundloom.pipeline.stable_audio.plan import plan_clip
from tests.robustness.mutators.media import changed, count, generator, nested, odd_json, refusal

SOUND = {
    "prompt": "rain",
    "negative_prompt": "hiss",
    "seconds": 2.0,
    "seed": 3,
    "steps": 8,
    "sampler": "pingpong",
    "guidance": {"scale": 2.0, "apg": 0.5, "interval": [0.1, 0.9], "rescale": 0.1, "norm_threshold": 1.0},
    "shift": {"type": "logsnr", "rate": 0.0, "min_length": 2, "max_length": 9},
    "crossfade": 0.02,
    "duration_padding": 1.0,
    "compat": {"schedule": "published", "codec_noise": True},
}
MUSIC = {
    "prompt": "a piano",
    "seconds": 5.0,
    "seed": 1,
    "temperature": 1.0,
    "top_k": 250,
    "top_p": 0.1,
    "guidance": 3.0,
    "window": 20.0,
    "raw": True,
}
RECORD = {
    "soundloom": "0.1.0",
    "mode": "generate",
    "model": "mini",
    "model_hash": "a3c5428febb93788",
    "precision": "fp32",
    "seed": 3,
    "warnings": ["a"],
    "request": SOUND,
}


def as_read(tree):
    return json.loads(json.dumps(tree))


def test_records_round_trip():
    assert GenerationRequest.from_record(as_read(SOUND)).to_record() == SOUND
    assert MusicRequest.from_record(MUSIC).to_record() == MUSIC


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"negative_prompt": 5}, "a negative prompt must be text, found int"),
        ({"shift": "x"}, "shift must be an object, found"),
        ({"guidance": {"interval": [0.5]}}, "the guidance interval must be a lowest and highest time"),
        ({"guidance": {"scale": "loud"}}, "guidance.scale must be a number"),
        ({"compat": None}, "compat must be a Compat"),
        ({"sampler": ["euler"]}, "no sampler named"),
        ({"regions": 5}, "regions must be pairs of seconds"),
        ({"steps": 10**19}, "steps must be between 1 and 10000"),
        ({"seconds": 1e300}, "seconds must be a number above 0 and at most 86400"),
        ({"seconds": 10**400}, "seconds must be a number, found one that is too large"),
        ({"source": 1}, "unknown fields: source"),
        ({"prompt": "\ud800"}, "a prompt must be Unicode text"),
    ],
)
def test_a_wrong_value_is_named(change, sentence):
    with pytest.raises(RequestError, match=sentence):
        GenerationRequest.from_record({**SOUND, **change})


def test_a_wrong_value_in_a_music_request_is_named():
    for change, sentence in (({"raw": 1}, "raw must be true or false"), ({"top_k": "x"}, "top k must be an integer")):
        with pytest.raises(RequestError, match=sentence):
            MusicRequest.from_record({**MUSIC, **change})


def plan(request):
    config = require_entry("mini").parsed_config()
    return plan_clip(request, config, DEFAULT_SECONDS)


def mutate_requests(name, number):
    rng = generator(name, number)
    refusal(lambda: plan(GenerationRequest.from_record(as_read(changed(SOUND, rng)))))
    refusal(lambda: MusicRequest.from_record(as_read(changed(MUSIC, rng))))


@pytest.mark.parametrize("number", range(count(300)))
def test_mutated_requests_are_accepted_or_rejected(number):
    mutate_requests("requests", number)


@pytest.mark.slow
def test_thousands_of_mutated_requests_are_accepted_or_rejected():
    for number in range(count(5000)):
        mutate_requests("slow requests", number)


def mutate_file(name, number, folder: Path):
    """Read a sidecar and a WAV file with a mutated record."""
    rng = generator(name, number)
    path, sidecar = folder / "a.wav", folder / "a.json"
    write_audio(path, np.full((1, 50), 0.1, np.float32), 44100)
    sidecar.write_bytes(odd_json(RECORD, rng))
    refusal(lambda: read_record(path))
    clip = Clip.load(path)  # whatever the record is
    clip.save(folder / "b.wav")
    refusal(lambda: run(Options(like=str(path), steps=0)))  # zero steps: refused before anything is made


@pytest.mark.parametrize("number", range(count(200)))
def test_mutated_sidecars_are_accepted_or_rejected(number, tmp_path):
    mutate_file("sidecars", number, tmp_path)


@pytest.mark.slow
def test_thousands_of_mutated_sidecars_are_accepted_or_rejected(tmp_path):
    for number in range(count(3000)):
        mutate_file("slow sidecars", number, tmp_path)


def written(folder, record):
    path = folder / "a.wav"
    write_audio(path, np.full((1, 50), 0.1, np.float32), 44100, record=record)
    return path


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"model": 1}, "model must be text, found 1"),
        ({"request": []}, r"request must be an object, found \[\]"),
        ({"warnings": 5}, "warnings must be a list"),
        ({"warnings": [5]}, "warnings must be texts"),
        ({"x": nested(1, 100)}, "nested more than 64 deep"),
        ({"seed": 10**400}, "more than 300 digits"),
    ],
)
def test_damaged_records_are_ignored_with_a_warning(tmp_path, caplog, record, sentence):
    path = written(tmp_path, record)
    with pytest.raises(AudioError, match=sentence):
        read_record(path)
    assert Clip.load(path).record == {}
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("model", ["./other", "/tmp", "MODEL_FOLDER", "mini.safetensors", "\x1b[31mred"])
def test_a_record_cannot_open_a_model_by_path(tmp_path, tiny_model_folder, model):
    model = str(tiny_model_folder) if model == "MODEL_FOLDER" else model
    path = written(tmp_path, {**RECORD, "model": model})
    with pytest.raises(RequestError, match="an unknown model called") as caught:
        run(Options(like=str(path)))
    assert "--model" in caught.value.hint
    assert "\x1b" not in str(caught.value)
