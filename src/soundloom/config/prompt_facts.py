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


def prompt_bpm(text: str) -> float | None:
    """Return the tempo that a prompt names, such as "kick, 129 BPM" or "BPM: 124"; None without one, or with several.

    Numbers outside 20 to 400 are not taken for a tempo.
    """
    found = {float(before or after) for before, after in _TEMPO.findall(text)}
    named = {bpm for bpm in found if MIN_BPM <= bpm <= MAX_BPM}
    return named.pop() if len(named) == 1 else None
