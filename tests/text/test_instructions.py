import pytest

from soundloom.errors import RequestError
from soundloom.text.instructions import normalize_instruction


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("Only drums", "Only Drums"),
        ("Remove the piano", "No Piano"),
        ("delete the guitar track.", "No Guitar"),
        ("without bass", "No Bass"),
        ("get rid of all the drums!", "No Drums"),
        ("mute guitars", "No Guitar"),
        ("no percussion", "No Drums"),
        ("isolate the bass guitar", "Only Bass"),
        ("keep only the drum kit please", "Only Drums"),
        ("just the piano part", "Only Piano"),
        ("add a guitar", "Add Guitar"),
        ("ADD DRUMS", "Add Drums"),
        ("  put  in some  bass ", "Add Bass"),
    ],
)
def test_instructions_become_trained_sentences(words, sentence):
    found = normalize_instruction(words)
    assert found.text == f"Music piece. Instruct: {sentence}."
    assert found.seen_in_training


def test_the_published_form_is_unchanged():
    text = "Music piece. Instruct: No Drums."
    assert normalize_instruction(text).text == text
    assert normalize_instruction(text).seen_in_training
    assert not normalize_instruction("Music piece. Instruct: Remove Drums.").seen_in_training


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("remove the vocals", "No Vocals"),
        ("Only lead synth", "Only Lead Synth"),
        ("Make it jazz", "Make it jazz"),
        ("notes of a flute", "notes of a flute"),
        ("solo French horn", "Only French Horn"),
    ],
)
def test_untrained_instructions_are_passed_on_and_marked(words, sentence):
    found = normalize_instruction(words)
    assert found.text == f"Music piece. Instruct: {sentence}."
    assert not found.seen_in_training


@pytest.mark.parametrize("words", ["", " . ", "remove", "Only the"])
def test_instructions_without_an_instrument_are_rejected(words):
    with pytest.raises(RequestError, match=r"no instruction was given|names no instrument"):
        normalize_instruction(words)
