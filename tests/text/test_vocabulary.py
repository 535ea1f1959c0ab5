import pytest

from soundloom import load
from soundloom.text.vocabulary import CaptionVocabulary


@pytest.fixture(scope="module")
def words():
    return load("mini").caption_vocabulary


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
def test_words_that_are_in_no_caption_are_listed(words, prompt, unknown):
    assert words.unknown(prompt) == unknown


def test_prompts_without_a_sound_get_a_warning_with_examples(words):
    warning = words.warnings("a video game", "mini")[-1]
    assert "none of the sounds that mini generates (tone, beep" in warning
    assert words.warnings("SNARE", "mini") == []
    assert words.warnings(" ", "mini") == []  # an empty prompt is valid


def test_long_lists_of_unknown_words_are_shortened(words):
    prompt = "rain " + " ".join(f"zzz{i}" for i in range(100))
    (warning,) = words.warnings(prompt, "mini")
    assert len(warning) < 200


def test_sound_names_are_in_the_vocabulary(words):
    assert [word for word in words.sound_names if words.unknown(word)] == []


def test_models_without_a_caption_vocabulary_give_no_warnings(tiny_model):
    assert tiny_model.caption_vocabulary is None
    assert CaptionVocabulary(tiny_model.tokenizer, ("rain",)).names_sound("Rain on a roof")
