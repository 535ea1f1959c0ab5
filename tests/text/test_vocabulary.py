import pytest

from soundloom import load
from soundloom.text.vocabulary import CaptionVocabulary


@pytest.fixture(scope="module")
def words():
    return load("mini").caption_words


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("Kick drum loop, 120 BPM", []),
        ("Rain!", []),
        ("closed hi-hats", []),
        ("an explosion of explosion", ["explosion"]),
        ("🥁 beat", ["🥁"]),
        ("a sine wave at 441Hz", ["441Hz"]),
        ("vidéo", ["vidéo"]),
        ("?! ...", []),
        ("", []),
    ],
)
def test_words_that_were_in_no_caption_are_named(words, prompt, unknown):
    assert words.unknown(prompt) == unknown


def test_a_prompt_without_a_sound_is_told_what_there_is(words):
    warning = words.warnings("a video game", "mini")[-1]
    assert "none of the sounds that mini generates (tone, beep" in warning
    assert words.warnings("SNARE", "mini") == []
    assert words.warnings(" ", "mini") == []  # nothing is a choice


def test_long_lists_of_words_are_shortened(words):
    prompt = "rain " + " ".join(f"zzz{i}" for i in range(100))
    (warning,) = words.warnings(prompt, "mini")
    assert len(warning) < 200


def test_subject_words_are_in_the_vocabulary(words):
    assert [word for word in words.subjects if words.unknown(word)] == []


def test_models_that_do_not_tell_their_words_say_nothing(tiny_model):
    assert tiny_model.caption_words is None
    assert CaptionVocabulary(tiny_model.tokenizer, ("rain",)).names_subject("Rain on a roof")
