"""Plain instructions to the few sentences that Instruct-MusicGen was trained on.

There are three: `Music piece. Instruct: Add Drums.`, `… No Drums.` and `… Only Drums.`, each with one of a few
instruments. "Remove the drums" was never among them, so what people write is turned into what the model knows.
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

# How people begin, longest first where one begins like another, by the trained word.
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
    """What the model is told. `seen_in_training` says whether the sentence is one of those it learnt from."""

    text: str
    seen_in_training: bool


def normalize_instruction(words: str, instruments: Collection[str] = INSTRUMENTS) -> Instruction:
    """Turn words into the sentence of a model that knows these instruments.

    The published form is taken as it stands. Words that begin with no known verb are put into the form unchanged.
    Raises RequestError where the words name nothing to do it to.
    """
    asked = " ".join(words.split())
    if _PREFIX.match(asked):
        return Instruction(asked, _is_trained(asked, instruments))
    bare = asked.rstrip(".!").strip()
    if not bare:
        raise RequestError("there is no instruction", 'say what to do, such as "Only drums" or "Remove the piano"')
    for word, verbs in _VERBS.items():
        for verb in verbs:
            if match := re.match(rf"{verb}\b\s*", bare, re.IGNORECASE):
                text = FORM.format(f"{word} {_instrument(bare[match.end() :], asked, instruments)}")
                return Instruction(text, _is_trained(text, instruments))
    return Instruction(FORM.format(bare), seen_in_training=False)


def _instrument(words: str, asked: str, instruments: Collection[str]) -> str:
    """The instrument as the model knows it, or the words with capital initials."""
    name = words.strip(" ,:;")
    while (shorter := _TAILS.sub("", _ARTICLES.sub("", name))) != name:
        name = shorter
    if not name:
        raise RequestError(f"'{shown(asked)}' does not say which instrument", f"known are {', '.join(instruments)}")
    others = {other: name for other, name in _OTHER_NAMES.items() if name in instruments}
    known = others | {each.lower(): each for each in instruments}
    return known.get(name.lower(), " ".join(word[:1].upper() + word[1:] for word in name.split()))


def _is_trained(text: str, instruments: Collection[str]) -> bool:
    return text in {FORM.format(f"{word} {name}") for word in _VERBS for name in instruments}
