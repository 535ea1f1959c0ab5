"""Prompts in the form of the captions that models were trained on: `TrackType: Music, Genre: House, 124 BPM`.

Sources: stable-audio-3, docs/guides/prompting.md (track types, several genres as `Genre: Funk, Genre: Jazz`, a tempo as
`120 BPM`); `soundloom.datasets.synthetic.captions` for mini, whose captions have the same form and fewer fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from soundloom.config.prompt_facts import MAX_BPM, MIN_BPM
from soundloom.errors import RequestError, shown

MINI = "mini"
MAX_LENGTH = 1000  # characters of a value
BARE = ""  # a field whose value stands alone
_KEYS = {  # to fields of captions, in their order
    "sound": BARE,
    "format": "Format",
    "genre": "Genre",
    "subgenre": "Subgenre",
    "instruments": "Instruments",
    "moods": "Moods",
    "style": "Style",
    "key": "Key",
    "bpm": "BPM",
}
_ALIASES = {"instrument": "instruments", "mood": "moods", "genres": "genre", "tempo": "bpm"}


@dataclass(frozen=True)
class PromptTemplate:
    """The tags that begin a caption, for published models and for mini, and the keys that it takes."""

    start: str
    mini_start: str
    keys: tuple[str, ...]


TEMPLATES = {
    "music": PromptTemplate(
        "TrackType: Music, VocalType: Instrumental",
        "TrackType: Music",
        ("format", "genre", "subgenre", "instruments", "moods", "style", "key", "bpm"),
    ),
    "instrument": PromptTemplate(
        "TrackType: Instrument", "TrackType: Music", ("format", "genre", "instruments", "moods", "style", "key", "bpm")
    ),
    "sfx": PromptTemplate("TrackType: SFX", "TrackType: SFX", ("sound",)),
}


def prompt_template(name: str, description: str = "", *, model: str = "medium", **values: str | float) -> str:
    """Return a prompt in the form of the captions of a model.

    `prompt_template("music", genre="house", bpm=124, key="A minor")` is
    "TrackType: Music, VocalType: Instrumental, Genre: House, Key: A minor, 124 BPM". `name` is `music`, `instrument` or
    `sfx`; a description in words comes last. All of these may hold weights. Lower-case values get capitals, as in the
    captions. Raises RequestError for unknown names and keys.
    """
    if not isinstance(name, str) or name not in TEMPLATES:
        raise RequestError(f"there is no template named '{shown(name)}'", f"templates: {', '.join(TEMPLATES)}")
    template, is_mini = TEMPLATES[name], model == MINI
    given = {_ALIASES.get(key.lower(), key.lower()): value for key, value in values.items()}
    if len(given) < len(values):
        raise RequestError(f"the template {name} was given one key twice", f"keys: {', '.join(template.keys)}")
    if unknown := [key for key in given if key not in template.keys]:
        raise RequestError(
            f"the template {name} has no key '{shown(unknown[0])}'", f"its keys: {', '.join(template.keys)}"
        )
    texts = {key: _text(key, value) for key, value in given.items()}
    tags = [tag for key in _KEYS if key in texts for tag in _tags(key, texts[key], is_mini)]
    start = template.mini_start if is_mini else template.start
    return ", ".join(filter(None, (start, *tags, description.strip())))


def parse_template(text: str) -> tuple[str, Mapping[str, str]]:
    """Return the name and values of a template given as lines: NAME, then KEY=VALUE. Raises RequestError."""
    name, *settings = text.split("\n")
    values: dict[str, str] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key in values:
            raise RequestError(f"{shown(key)} was given twice for the template {shown(name)}", "give each key once")
        values[key] = value
    return name, values


def _text(key: str, value: object) -> str:
    """Return a value as text. Raises RequestError for one that is empty, long or, as a tempo, no number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
    if not text or isinstance(value, bool) or len(text) > MAX_LENGTH:
        raise RequestError(f"{key} must be a text of at most {MAX_LENGTH} characters, found '{shown(value)}'")
    if key == "bpm":
        return _tempo(text)
    return text


def _tempo(text: str) -> str:
    number = text.lower().removesuffix("bpm").strip()
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", number) or not MIN_BPM <= float(number) <= MAX_BPM:
        raise RequestError(f"bpm must be a number from {MIN_BPM:g} to {MAX_BPM:g}, found '{shown(text)}'")
    return number


def _tags(key: str, text: str, is_mini: bool) -> list[str]:
    if key == "bpm":
        return [f"{text} BPM"]
    if key == "key":
        return [f"Key: {text[0].upper()}{text[1:]}"]
    field = "Sound" if key == "sound" and is_mini else _KEYS[key]
    text = _with_capitals(text) if field else text
    values = [value.strip() for value in text.split(",")] if key == "genre" else [text]
    return [f"{field}: {value}" if field else value for value in values if value]


def _with_capitals(text: str) -> str:
    """Return "Hip Hop" for "hip hop"; other than lower-case text stays as it is."""
    if text != text.lower():
        return text
    return re.sub(r"(^|[\s(&/,-])(\w)", lambda found: found[1] + found[2].upper(), text)
