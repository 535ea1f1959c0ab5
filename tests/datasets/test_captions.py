import numpy as np
import pytest

from soundloom.datasets.captions import captions_of, make_prompt

TRACK = {"TrackType": "Music", "genre": ["House", "Techno"], "BPM": 120.0, "mood": "Warm", "id": 7, "path": "/x"}


def prompts(metadata, count=200):
    rng = np.random.default_rng(0)
    return [make_prompt(metadata, rng) for _ in range(count)]


def test_written_captions_come_as_they_are_and_once():
    metadata = {"caption": "a bell", "captions": ["a small bell", "a bell"], "genre": "House", "text": ""}
    assert captions_of(metadata, "a.wav") == ("a bell", "a small bell")


def test_prompts_have_names_in_half_of_the_cases():
    named = [prompt for prompt in prompts(TRACK) if "Genre: " in prompt or "Moods: " in prompt]
    assert 60 < len(named) < 140


def test_fields_values_and_their_order_vary():
    made = prompts(TRACK)
    assert any("House, Techno" in prompt for prompt in made)
    assert any("Techno, House" in prompt for prompt in made)
    assert any(" | " in prompt for prompt in made)
    assert any("Genre" not in prompt and "House" not in prompt for prompt in made)
    assert 60 < sum("Music" in prompt for prompt in made) < 140  # the field that is told half of the time


def test_a_tempo_speaks_for_itself():
    assert all("BPM:" not in prompt for prompt in prompts(TRACK))
    assert any("120 BPM" in prompt for prompt in prompts(TRACK))


def test_the_description_alone_is_told_sometimes():
    made = prompts({**TRACK, "description": "An evening in a club"})
    assert 25 < made.count("An evening in a club") < 80


def test_fields_that_say_nothing_about_the_sound_are_left_out():
    assert not any("/x" in prompt or "7" in prompt for prompt in prompts(TRACK))


def test_made_captions_are_the_same_at_every_call_and_differ_between_sounds():
    assert captions_of(TRACK, "a.wav") == captions_of(TRACK, "a.wav") != captions_of(TRACK, "b.wav")


@pytest.mark.parametrize("metadata", [{}, {"id": 3}, {"genre": None, "bpm": True}])
def test_nothing_to_say(metadata):
    assert captions_of(metadata, "a.wav") == ()
