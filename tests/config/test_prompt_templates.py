"""Prompts in the form of captions, and random prompts."""

import pytest

import soundloom
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.prompt_facts import prompt_bpm
from soundloom.config.prompt_templates import TEMPLATES, parse_template, prompt_template
from soundloom.config.random_prompts import CHOICES, random_prompt
from soundloom.errors import RequestError
from soundloom.prompts import WeightedText, parse_weights

MUSIC = "TrackType: Music, VocalType: Instrumental"


@pytest.mark.parametrize(
    ("values", "prompt"),
    [
        ({}, MUSIC),
        ({"bpm": 124, "genre": "house", "key": "A minor"}, f"{MUSIC}, Genre: House, Key: A minor, 124 BPM"),
        ({"genre": "hip hop, lo-fi"}, f"{MUSIC}, Genre: Hip Hop, Genre: Lo-Fi"),
        ({"instrument": "guitar, bass"}, f"{MUSIC}, Instruments: Guitar, Bass"),
        ({"Genre": "UK garage", "mood": "r&b"}, f"{MUSIC}, Genre: UK garage, Moods: R&B"),
        ({"tempo": "92.5 BPM", "key": "f# minor"}, f"{MUSIC}, Key: F# minor, 92.5 BPM"),
        ({"bpm": 120.0, "description": "a (slow:1.2) tune"}, f"{MUSIC}, 120 BPM, a (slow:1.2) tune"),
        ({"genre": "(deep house:1.3), funk"}, f"{MUSIC}, Genre: (Deep House:1.3), Genre: Funk"),
        ({"model": "mini", "genre": "house"}, "TrackType: Music, Genre: House"),
    ],
)
def test_a_template_is_a_caption(values, prompt):
    assert prompt_template("music", **values) == prompt


def test_sound_effects_are_named_as_the_model_knows_them():
    assert prompt_template("sfx", "close up", sound="a door") == "TrackType: SFX, a door, close up"
    assert prompt_template("sfx", sound="rain", model="mini") == "TrackType: SFX, Sound: Rain"
    assert soundloom.prompt_template("instrument", format="duo") == "TrackType: Instrument, Format: Duo"


def test_the_tempo_of_a_template_is_found_in_its_prompt():
    assert prompt_bpm(prompt_template("music", genre="808 house", bpm=124)) == 124


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("house", {}, "no template named 'house'\nhint: templates: music, instrument, sfx"),
        (None, {}, "no template named 'None'"),
        ("music", {"color": "red"}, "the template music has no key 'color'\nhint: its keys: format, genre"),
        ("sfx", {"bpm": 120}, "the template sfx has no key 'bpm'\nhint: its keys: sound"),
        ("music", {"bpm": "fast"}, "bpm must be a number from 20 to 400, found 'fast'"),
        ("music", {"bpm": -5}, "bpm must be a number"),
        ("music", {"bpm": float("nan")}, "bpm must be a number"),
        ("music", {"bpm": 10**30}, "bpm must be a number"),
        ("music", {"bpm": 120, "tempo": 90}, "one key twice"),
        ("music", {"genre": " "}, "genre must be a text of at most 1000 characters, found ' '"),
        ("music", {"genre": "x" * 2000}, "genre must be a text"),
        ("music", {"genre": None}, "genre must be a text"),
        ("music", {"genre": True}, "genre must be a text"),
    ],
)
def test_nonsense_is_rejected(name, values, sentence):
    with pytest.raises(RequestError, match=sentence):
        prompt_template(name, **values)


def test_templates_are_parsed_from_lines():
    assert parse_template("music\ngenre=a=b\nkey=") == ("music", {"genre": "a=b", "key": ""})
    with pytest.raises(RequestError, match="genre was given twice for the template music"):
        parse_template("music\ngenre=a\ngenre=b")


def test_the_values_of_templates_are_known():
    for name, template in TEMPLATES.items():
        assert prompt_template(name, **dict.fromkeys(template.keys, "90")).startswith("TrackType")


def test_mini_knows_every_word_of_its_random_prompts():
    vocabulary = soundloom.load("mini").caption_vocabulary
    prompts = {random_prompt("mini", seed) for seed in range(1500)}
    assert len(prompts) > 300
    assert [found for prompt in prompts for found in vocabulary.warnings(prompt, "mini")] == []


def test_random_prompts_fit_the_model():
    def some(model, **options):
        return {random_prompt(model, seed, **options) for seed in range(60)}

    sources = CHOICES["source"]
    assert all(any(source in prompt for source in sources) for prompt in some("small-sfx"))
    assert not any(source in prompt for prompt in some("small-music") for source in sources)
    both = {any(source in prompt for source in sources) for prompt in some("medium")}
    assert both == {True, False}
    assert not any("TrackType" in prompt for prompt in some("musicgen-small"))
    assert some("folder", sounds=["rain", "wind"]) == {"rain", "wind"}


@pytest.mark.parametrize("model", [name for name, entry in CATALOGUE.items() if entry.kind in ("generator", "music")])
def test_random_prompts_depend_on_the_seed_and_have_no_weights(model):
    prompts = [random_prompt(model, seed) for seed in range(50)]
    assert prompts == [random_prompt(model, seed) for seed in range(50)]
    assert len(set(prompts)) > 25
    assert all(parse_weights(prompt) == WeightedText(prompt) for prompt in prompts)
    assert [MusicRequest(prompt).prompt for prompt in prompts] == prompts
    assert random_prompt(model)


@pytest.mark.parametrize("seed", [-1, 1.5, "7"])
def test_a_seed_that_is_no_number_is_rejected(seed):
    with pytest.raises(RequestError, match="seed must be"):
        random_prompt("mini", seed)
