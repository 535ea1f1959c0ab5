"""Normalize instructions to the sentences that Instruct-MusicGen was trained on.

These are `Music piece. Instruct: Add Drums.`, `… No Drums.` and `… Only Drums.`, each with one of a few instruments.
Source: instruct-MusicGen, its data sets.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from soundloom.config.musicgen.model import InstructConfig
from soundloom.errors import RequestError, shown

INSTRUMENTS = InstructConfig().instruments
FORM = "Music piece. Instruct: {}."
_PREFIX = re.compile(r"music piece\.\s*instruct:\s*", re.IGNORECASE)

# The trained verb: its synonyms, longer ones first where one is a prefix of another.
_VERBS = {
    "No": (
        *("get rid of", "take out", "take away", "strip out", "cut out", "turn off", "leave out", "drop out"),
        *("remove", "delete", "without", "mute", "no", "drop", "erase", "eliminate", "exclude", "silence", "minus"),
    ),
    "Only": (
        *("keep only", "leave only", "keep just", "leave just", "give me only", "give me just", "nothing but"),
        *("only", "just", "isolate", "solo", "extract", "keep", "separate"),
    ),
    "Add": ("put in", "bring in", "mix in", "add", "insert", "include", "with"),
}
_ARTICLES = re.compile(r"^(the|a|an|some|all|any|of|out|in|on)(\s+|$)", re.IGNORECASE)
_TAILS = re.compile(r"\s+(track|tracks|stem|stems|part|parts|sound|sounds|line|lines|please)$", re.IGNORECASE)
_OTHER_NAMES = {
    "drum": "Drums",
    "drum kit": "Drums",
    "drum set": "Drums",
    "drumkit": "Drums",
    "percussion": "Drums",
    "basses": "Bass",
    "bass guitar": "Bass",
    "pianos": "Piano",
    "keys": "Piano",
    "guitars": "Guitar",
}


@dataclass(frozen=True)
class Instruction:
    """An instruction in the model's form, and whether that sentence was in its training data."""

    text: str
    seen_in_training: bool


def normalize_instruction(prompt: str, instruments: Collection[str] = INSTRUMENTS) -> Instruction:
    """Return a prompt in the form of a model trained on these instruments.

    A prompt in the published form is unchanged. One without a known verb is put into the form as it is.
    Raises RequestError for an empty prompt or a verb without an instrument.
    """
    asked = " ".join(prompt.split())
    if _PREFIX.match(asked):
        return Instruction(asked, _is_trained(asked, instruments))
    bare = asked.rstrip(".!").strip()
    if not bare:
        raise RequestError("no instruction was given", 'give one such as "Only drums" or "Remove the piano"')
    for verb, synonyms in _VERBS.items():
        for synonym in synonyms:
            if match := re.match(rf"{synonym}\b\s*", bare, re.IGNORECASE):
                text = FORM.format(f"{verb} {_instrument(bare[match.end() :], asked, instruments)}")
                return Instruction(text, _is_trained(text, instruments))
    return Instruction(FORM.format(bare), seen_in_training=False)


def _instrument(text: str, asked: str, instruments: Collection[str]) -> str:
    """Return the model's name of an instrument, or the text with capital initials if it is unknown."""
    name = text.strip(" ,:;")
    while (shorter := _TAILS.sub("", _ARTICLES.sub("", name))) != name:
        name = shorter
    if not name:
        raise RequestError(f"'{shown(asked)}' names no instrument", f"known instruments: {', '.join(instruments)}")
    others = {other: name for other, name in _OTHER_NAMES.items() if name in instruments}
    known = others | {each.lower(): each for each in instruments}
    return known.get(name.lower(), " ".join(word[:1].upper() + word[1:] for word in name.split()))


def _is_trained(text: str, instruments: Collection[str]) -> bool:
    return text in {FORM.format(f"{verb} {name}") for verb in _VERBS for name in instruments}
