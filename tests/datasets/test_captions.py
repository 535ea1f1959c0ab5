import numpy as np
import pytest

from soundloom.datasets.captions import build_prompt, captions_of

TRACK = {"TrackType": "Music", "genre": ["House", "Techno"], "BPM": 120.0, "mood": "Warm", "id": 7, "path": "/x"}


def prompts(metadata, count=200):
    rng = np.random.default_rng(0)
    return [build_prompt(metadata, rng) for _ in range(count)]


def test_written_captions_are_unchanged_and_distinct():
    metadata = {"caption": "a bell", "captions": ["a small bell", "a bell"], "genre": "House", "text": ""}
    assert captions_of(metadata, "a.wav") == ("a bell", "a small bell")


def test_half_of_the_prompts_show_field_names():
    named = [prompt for prompt in prompts(TRACK) if "Genre: " in prompt or "Moods: " in prompt]
    assert 60 < len(named) < 140


def test_fields_and_the_order_of_values_vary():
    built = prompts(TRACK)
    assert any("House, Techno" in prompt for prompt in built)
    assert any("Techno, House" in prompt for prompt in built)
    assert any(" | " in prompt for prompt in built)
    assert any("Genre" not in prompt and "House" not in prompt for prompt in built)
    assert 60 < sum("Music" in prompt for prompt in built) < 140  # a field that appears half of the time


def test_tempo_never_has_a_field_name():
    assert all("BPM:" not in prompt for prompt in prompts(TRACK))
    assert any("120 BPM" in prompt for prompt in prompts(TRACK))


def test_some_prompts_are_the_description_alone():
    built = prompts({**TRACK, "description": "An evening in a club"})
    assert 25 < built.count("An evening in a club") < 80


def test_unknown_fields_are_ignored():
    assert not any("/x" in prompt or "7" in prompt for prompt in prompts(TRACK))


def test_built_captions_depend_on_the_origin_alone():
    assert captions_of(TRACK, "a.wav") == captions_of(TRACK, "a.wav") != captions_of(TRACK, "b.wav")


@pytest.mark.parametrize("metadata", [{}, {"id": 3}, {"genre": None, "bpm": True}])
def test_metadata_without_tags_gives_no_captions(metadata):
    assert captions_of(metadata, "a.wav") == ()
