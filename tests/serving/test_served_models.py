"""Which models a server has, and the names that clients of other services give them."""

from __future__ import annotations

import shutil

import pytest

from soundloom import Client
from soundloom.cli.options.flags import parse
from soundloom.cli.options.serving import ServedModelOptions, ServedModels
from soundloom.errors import ModelNotFoundError, SoundloomError
from soundloom.testing.stable_audio import make_random
from tests.serving.http.conftest import TOKEN, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a model that is not in the catalogue."""
    return make_random("small-music", tmp_path_factory.mktemp("models") / "my-model", layout="published", size="tiny")


@pytest.fixture(scope="module")
def client(tmp_path_factory, folder):
    settings = {
        "sources": {"my-model": str(folder)},
        "allowed": ("mini", "my-model"),
        "aliases": {"stable-audio-2.5": "my-model", "our-sounds": "mini"},
    }
    with running(tmp_path_factory.mktemp("data"), **settings) as (client, _):
        yield client


def served(*arguments):
    return parse(ServedModelOptions, [str(one) for one in arguments], "soundloom serve").served_models()


def test_all_models_of_the_catalogue_are_served_by_default():
    assert served() == ServedModels("mini")
    assert served("--model", "small-music") == ServedModels("small-music")


def test_models_are_limited_to_those_that_are_named(folder):
    name = folder.name
    assert served("--models", "small-music,mini") == ServedModels("small-music", ("small-music", "mini"))
    assert served("--models", f" mini, {folder},mini").allowed == ("mini", name)
    assert served("--models", f"mini,{folder}", "--model", folder).sources == {name: str(folder)}
    assert served("--models", "medium@int4,mini", "--model", "mini").allowed == ("medium@int4", "mini")


def test_aliases_name_models(folder):
    found = served("--alias", "Stable-Audio-2.5=mini", "--alias", "a=b=medium", "--alias", f"mine={folder}")
    assert found.aliases == {"stable-audio-2.5": "mini", "a=b": "medium", "mine": folder.name}
    assert found.sources == {folder.name: str(folder)}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--models", ""), "a model has no name"),
        (("--models", "mini,"), "a model has no name"),
        (("--models", "mini,no-such-model"), "no-such-model"),
        (("--models", "mini", "--model", "medium"), "--model medium is not among --models"),
        (("--alias", "mini"), "--alias must be NAME=MODEL"),
        (("--alias", "=mini"), "--alias must be NAME=MODEL"),
        (("--alias", "x="), "--alias must be NAME=MODEL"),
        (("--alias", "x" * 201 + "=mini"), "--alias must be NAME=MODEL"),
        (("--alias", "x=no-such-model"), "no-such-model"),
    ],
)
def test_wrong_names_are_refused_in_a_sentence(arguments, text):
    with pytest.raises(SoundloomError, match=text) as found:
        served(*arguments)
    assert found.value.exit_code == 2 and "\n" not in found.value.args[0]


def test_two_folders_of_one_name_are_refused(folder, tmp_path):
    other = tmp_path / folder.name
    shutil.copytree(folder, other)
    with pytest.raises(SoundloomError, match=f"two models have the name {folder.name}"):
        served("--models", f"{folder},{other}")


def test_other_models_are_answered_with_those_that_there_are(client):
    for path, body in (("jobs", {"model": "medium"}), ("check", {"model": "medium"}), ("models/medium/load", None)):
        answer = client.post(f"/v1/{path}", json=body)
        assert answer.status_code == 404, answer.text
        assert answer.json()["detail"] == "the server has no model 'medium'"
        assert answer.json()["hint"] == "it has mini, my-model"
    for path in ("pull", "unload", "verify"):
        assert client.post(f"/v1/models/medium/{path}").status_code == 404
    assert client.get("/v1/models/medium/license").status_code == 404
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["mini", "my-model"]
    with Client(str(client.base_url), TOKEN) as other, pytest.raises(ModelNotFoundError, match="no model 'medium'"):
        other.generate("rain", seconds=1, model="medium")


def models_used(client):
    return client.get("/v1/jobs").json()[-1]["model"]


def test_dialects_know_models_by_their_aliases(client):
    speech = {"input": "rain", "audio_length": 0.3, "seed": 7}
    for name, model in (("our-sounds", "mini"), ("OUR-SOUNDS", "mini"), ("tts-1", "mini"), ("my-model", "my-model")):
        answer = client.post("/v1/audio/generate", json=speech | {"model": name})
        assert answer.status_code in (200, 422), answer.text  # noise of random weights may be refused
        assert models_used(client) == model
    form = {"prompt": "rain", "duration": "0.3", "model": "stable-audio-2.5", "output_format": "wav"}
    client.post("/v2beta/audio/stable-audio-2/text-to-audio", files={"none": ""}, data=form)
    assert models_used(client) == "my-model"
    sounds = {"text": "rain", "duration_seconds": 0.5, "model_id": "our-sounds"}
    assert client.post("/v1/sound-generation", json=sounds).status_code == 200
    assert client.post("/v1/audio/generate", json=speech | {"model": "medium"}).status_code == 404


def test_the_native_interface_has_no_aliases(client):
    assert client.post("/v1/jobs", json={"model": "our-sounds"}).status_code == 404
