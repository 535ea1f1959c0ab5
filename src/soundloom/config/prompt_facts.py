"""Facts that the text of a prompt states."""

from __future__ import annotations

import re

MIN_BPM, MAX_BPM = 20.0, 400.0  # wider than any music of the training captions
_NUMBER = r"(?<![\d.])(?<!\d[-–])(\d{1,4}(?:\.\d{1,9})?)"  # but not the end of a range such as 120-130
_UNIT = r"(?:bpm|beats?[\s-]{1,3}(?:per|a)[\s-]{1,3}min(?:ute)?)(?![a-z])"
# "129 BPM", "at 90bpm", "100 beats per minute", "BPM: 124", "bpm=124", "BPM 124"
_TEMPO = re.compile(
    rf"{_NUMBER}[\s-]{{0,3}}{_UNIT}|(?<![a-z])bpm\s{{0,3}}[:=]?\s{{0,3}}{_NUMBER}(?![\d.]{{0,9}}\d)", re.IGNORECASE
)

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SHIFTS = {"": 0, "#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
# "A minor", "F# maj", "in b-flat major", "Key: Db min"; but "a major hit" only counts with a capital A.
_KEY = re.compile(
    r"(?<![\w#♯♭])((?:(?<=in\s)|(?<=key\s)|(?<=of\s))[a-g]|[A-G])[\s-]?(#|♯|♭|b(?![a-z])|(?i:sharp|flat)(?![a-z])|)"
    r"[\s-]{0,3}((?i:min(?:or)?|maj(?:or)?))(?![A-Za-z])"
)


def prompt_bpm(text: str) -> float | None:
    """Return the tempo that a prompt names, such as "kick, 129 BPM" or "BPM: 124"; None without one, or with several.

    Numbers outside 20 to 400 are not taken for a tempo.
    """
    found = {float(before or after) for before, after in _TEMPO.findall(text)}
    named = {bpm for bpm in found if MIN_BPM <= bpm <= MAX_BPM}
    return named.pop() if len(named) == 1 else None


def prompt_key(text: str) -> str | None:
    """Return the key that a prompt names, such as "A minor" or "F# major" (flats as sharps); None without one.

    None also with several. A note needs its mode: "in C" could be anything.
    """
    found = {_key_name(*parts) for parts in _KEY.findall(text)}
    return found.pop() if len(found) == 1 else None


def _key_name(note: str, sign: str, mode: str) -> str:
    place = (_NOTES.index(note.upper()) + _SHIFTS[sign.lower()]) % len(_NOTES)
    return f"{_NOTES[place]} {'minor' if mode[1].lower() == 'i' else 'major'}"
