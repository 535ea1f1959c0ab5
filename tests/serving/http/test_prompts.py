"""Prompts, and what is known about models and adapters, over HTTP."""

from __future__ import annotations

import pytest

from soundloom.config.prompt_templates import prompt_template
from soundloom.config.random_prompts import MINI_KINDS


def test_prompts_of_mini_name_its_kinds_of_sound(client):
    found = client.get("/v1/prompts", params={"seed": 3}).json()
    assert [one["name"] for one in found["sounds"]] == list(MINI_KINDS)
    assert found == client.get("/v1/prompts", params={"model": "mini", "seed": 3}).json()
    for one in [found["random"], *(one["prompt"] for one in found["sounds"])]:
        read = client.post("/v1/prompts/read", json={"prompt": one}).json()
        assert (read["unknown"], read["names_sound"], read["unread"]) == ([], True, ""), one


def test_templates_are_those_that_the_model_was_trained_on(client):
    templates = {
        model: [one["name"] for one in client.get("/v1/prompts", params={"model": model}).json()["templates"]]
        for model in ("small-music", "small-sfx", "medium", "musicgen-small")
    }
    assert templates == {
        "small-music": ["music", "instrument"],
        "small-sfx": ["sfx"],
        "medium": ["music", "instrument", "sfx"],
        "musicgen-small": [],
    }
    values = {"genre": "house", "bpm": "124", "key": ""}
    body = {"name": "music", "values": values, "description": "warm", "model": "medium"}
    expected = prompt_template("music", "warm", model="medium", genre="house", bpm="124")
    assert client.post("/v1/prompts/template", json=body).json() == {"prompt": expected}
    assert client.post("/v1/prompts/template", json=body | {"values": {"bpm": "fast"}}).status_code == 422
    assert client.get("/v1/prompts", params={"model": "no-such"}).status_code == 404


def test_words_that_a_model_does_not_know_are_named(client):
    read = client.post("/v1/prompts/read", json={"prompt": "a (violin:1.2) and rain, 120 BPM, A minor"}).json()
    assert read["unknown"] == ["violin", "minor"] and read["names_sound"]
    assert (read["bpm"], read["key"], read["problem"], read["unread"]) == (120.0, "A minor", None, "")
    assert 0 < read["tokens"] <= read["limit"] == 32
    assert not client.post("/v1/prompts/read", json={"prompt": "violin"}).json()["names_sound"]


def test_the_part_of_a_prompt_that_is_not_read_is_named(client):
    read = client.post("/v1/prompts/read", json={"prompt": "rain " * 40}).json()
    assert (read["tokens"], read["limit"]) == (40, 32)
    assert read["unread"].split() == ["rain"] * 8
    assert client.post("/v1/prompts/read", json={"prompt": "(rain:99)"}).json()["problem"].startswith("the weight 99")
    other = client.post("/v1/prompts/read", json={"prompt": "rain", "model": "medium"}).json()
    assert (other["tokens"], other["limit"], other["unknown"]) == (None, 256, [])


@pytest.mark.parametrize(
    ("prompt", "understood", "trained"),
    [("just the drums please", "Only Drums", True), ("remove the violin", "No Violin", False)],
)
def test_an_instruction_is_shown_as_it_is_understood(client, prompt, understood, trained):
    read = client.post("/v1/prompts/read", json={"prompt": prompt, "model": "instruct-musicgen"}).json()
    assert (read["understood"], read["trained"]) == (f"Music piece. Instruct: {understood}.", trained)
    assert client.post("/v1/prompts/read", json={"prompt": "remove", "model": "instruct-musicgen"}).json()["problem"]


def test_models_say_what_they_can_do(client):
    found = {one["id"]: one for one in client.get("/v1/models").json()["data"]}
    mini, base, instruct = found["mini"], found["small-music-base"], found["instruct-musicgen"]
    assert mini["modes"] == ["generate", "vary", "inpaint", "extend", "loop"] and "rain" in mini["sounds"]
    assert (mini["distilled"], mini["guidance"], mini["steps"], mini["tokens"]) == (True, 1.0, 8, 32)
    assert (base["distilled"], base["guidance"], base["steps"]) == (False, 7.0, 50)
    assert (instruct["modes"], instruct["music"]) == (["edit"], True)
    assert instruct["instruments"] == ["Drums", "Bass", "Piano", "Guitar"]
    assert found["musicgen-small"]["modes"] == ["generate"] and found["musicgen-small"]["pass_seconds"] == 30
