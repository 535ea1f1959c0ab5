"""Captions from what is written beside a sound: text as it stands, and prompts made of the fields of a library.

The published models learnt from tags that were turned into text at load time: a random choice of fields, with their
names or without, values of a list in any order, sometimes the description alone. So both styles work as prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from soundloom.datasets.items import read_metadata
from soundloom.errors import CorruptFileError

CAPTION_FIELDS = ("prompt", "caption", "captions", "text")  # already words
DESCRIPTION_FIELDS = ("description", "title", "name")
TAG_FIELDS = {  # as libraries write them, and as captions do; those of the published captions come first
    "tracktype": "TrackType",
    "vocaltype": "VocalType",
    "format": "Format",
    "genre": "Genre",
    "genres": "Genre",
    "subgenre": "Subgenre",
    "instrument": "Instruments",
    "instruments": "Instruments",
    "mood": "Moods",
    "moods": "Moods",
    "style": "Style",
    "key": "Key",
    "tags": "Tags",
    "artist": "Artist",
    "bpm": "BPM",
    "tempo": "BPM",
}
HALF_SHOWN = ("TrackType", "VocalType", "Format")
FIELD_CHANCE = 0.75  # of any other field
NAMED_SHARE = 0.5
DESCRIPTION_SHARE = 0.25  # of the prompts that are the description alone, where there is one
BARS_SHARE = 0.5  # of the prompts with names whose fields stand between bars, not commas
MADE_PROMPTS = 4  # of each sound that has fields and no captions


def captions_of(metadata: Mapping[str, Any], origin: str) -> tuple[str, ...]:
    """Captions that are written down, or else some prompts made of the fields; the same ones at every call."""
    written = written_captions(metadata)
    if written or not (tags_of(metadata) or descriptions(metadata)):
        return written
    rng = np.random.Generator(np.random.Philox(crc32(origin.encode())))
    return tuple(dict.fromkeys(make_prompt(metadata, rng) for _ in range(MADE_PROMPTS)))


def written_captions(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """All captions that the metadata spells out, each once."""
    found = [text for name in CAPTION_FIELDS for text in texts(metadata.get(name))]
    return tuple(dict.fromkeys(found))


def read_sidecars(table: bytes | None, text: bytes | None, stem: str) -> dict[str, Any]:
    """Metadata of STEM.json and STEM.txt, which stand beside a sound, and of which either may be missing.

    Each line of the text that is not empty is a caption, before those of the table. Raises CorruptFileError.
    """
    metadata = {} if table is None else read_metadata(table, f"{stem}.json")
    if text is not None:
        try:
            lines = [line.strip() for line in text.decode("utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise CorruptFileError(f"{stem}.txt is not text in UTF-8: {error}") from error
        metadata["captions"] = [*filter(None, lines), *_listed(metadata.get("captions"))]
    return metadata


def _listed(value: object) -> list[object]:
    """A field's values as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def make_prompt(metadata: Mapping[str, Any], rng: np.random.Generator) -> str:
    """One prompt of a random choice of fields in a random order, or a description."""
    told, tags = descriptions(metadata), tags_of(metadata)
    if told and (not tags or rng.random() < DESCRIPTION_SHARE):
        return str(rng.choice(told))
    names = [name for name in tags if rng.random() < (0.5 if name in HALF_SHOWN else FIELD_CHANCE)]
    names = names or [str(rng.choice(list(tags)))]
    rng.shuffle(names)
    named = rng.random() < NAMED_SHARE
    parts = [_tag(name, [str(value) for value in rng.permutation(tags[name])], named) for name in names]
    return (" | " if named and rng.random() < BARS_SHARE else ", ").join(parts)


def _tag(name: str, values: list[str], named: bool) -> str:
    text = ", ".join(values)
    if name == "BPM":
        return f"{text} BPM"  # a tempo speaks for itself
    return f"{name}: {text}" if named else text


def tags_of(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    """Values of the known fields, whatever the case of their names."""
    tags: dict[str, list[str]] = {}
    for name, value in metadata.items():
        if (shown := TAG_FIELDS.get(name.lower())) and (values := texts(value)):
            tags[shown] = list(dict.fromkeys(tags.get(shown, []) + values))
    return tags


def descriptions(metadata: Mapping[str, Any]) -> list[str]:
    """What describes the sound in words."""
    return [text for name, value in metadata.items() if name.lower() in DESCRIPTION_FIELDS for text in texts(value)]


def texts(value: object) -> list[str]:
    """Text of a field that holds one value or several; numbers without a needless fraction."""
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts(part)]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return []
    return [str(value).strip()] if str(value).strip() else []
