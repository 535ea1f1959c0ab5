"""Captions from metadata: written captions, or prompts built from the tags of a music library.

The published models were trained on tags turned into text at load time: a random choice of fields, with or without
their names, list values in random order, sometimes the description alone. Prompts built here follow that scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from soundloom.datasets.examples import parse_metadata
from soundloom.errors import CorruptFileError

CAPTION_FIELDS = ("prompt", "caption", "captions", "text")
DESCRIPTION_FIELDS = ("description", "title", "name")
TAG_FIELDS = {  # metadata field to its name in prompts; the fields of the published captions come first
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
HALF_FIELDS = ("TrackType", "VocalType", "Format")
HALF_CHANCE, FIELD_CHANCE = 0.5, 0.75  # that a field appears: of HALF_FIELDS, of any other
NAMED_SHARE = 0.5  # of prompts that show field names
DESCRIPTION_SHARE = 0.25  # of prompts that are the description alone
BARS_SHARE = 0.5  # of prompts with field names that are joined by " | " instead of commas
GENERATED_PROMPTS = 4  # for each sound with tags but no captions


def captions_of(metadata: Mapping[str, Any], origin: str) -> tuple[str, ...]:
    """Return the written captions, or else prompts built from tags; deterministic for each origin."""
    written = written_captions(metadata)
    if written or not (tags_of(metadata) or descriptions(metadata)):
        return written
    rng = np.random.Generator(np.random.Philox(crc32(origin.encode())))
    return tuple(dict.fromkeys(build_prompt(metadata, rng) for _ in range(GENERATED_PROMPTS)))


def written_captions(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the distinct captions in the caption fields; their names ignore case."""
    fields = {name.lower(): value for name, value in metadata.items()}
    found = [text for name in CAPTION_FIELDS for text in texts(fields.get(name))]
    return tuple(dict.fromkeys(found))


def read_sidecars(table: bytes | None, text: bytes | None, stem: str) -> dict[str, Any]:
    """Merge the metadata of STEM.json and STEM.txt beside a sound; either may be missing.

    Each non-empty line of the text is a caption, before those of the JSON. Raises CorruptFileError.
    """
    metadata = {} if table is None else parse_metadata(table, f"{stem}.json")
    if text is not None:
        try:
            lines = [line.strip() for line in text.decode("utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise CorruptFileError(f"{stem}.txt is not UTF-8 text: {error}") from error
        metadata["captions"] = [*filter(None, lines), *_listed(metadata.get("captions"))]
    return metadata


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def build_prompt(metadata: Mapping[str, Any], rng: np.random.Generator) -> str:
    """Build one prompt: a random choice of tags in random order, or a description."""
    described, tags = descriptions(metadata), tags_of(metadata)
    if described and (not tags or rng.random() < DESCRIPTION_SHARE):
        return str(rng.choice(described))
    names = [name for name in tags if rng.random() < (HALF_CHANCE if name in HALF_FIELDS else FIELD_CHANCE)]
    names = names or [str(rng.choice(list(tags)))]
    rng.shuffle(names)
    named = rng.random() < NAMED_SHARE
    parts = [_tag(name, [str(value) for value in rng.permutation(tags[name])], named) for name in names]
    return (" | " if named and rng.random() < BARS_SHARE else ", ").join(parts)


def _tag(name: str, values: list[str], named: bool) -> str:
    text = ", ".join(values)
    if name == "BPM":
        return f"{text} BPM"  # never with a field name
    return f"{name}: {text}" if named else text


def tags_of(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the values of each known tag field; field names ignore case."""
    tags: dict[str, list[str]] = {}
    for name, value in metadata.items():
        if (shown := TAG_FIELDS.get(name.lower())) and (values := texts(value)):
            tags[shown] = list(dict.fromkeys(tags.get(shown, []) + values))
    return tags


def descriptions(metadata: Mapping[str, Any]) -> list[str]:
    return [text for name, value in metadata.items() if name.lower() in DESCRIPTION_FIELDS for text in texts(value)]


def texts(value: object) -> list[str]:
    """Return a field's values as text; whole numbers have no fraction."""
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts(part)]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return []
    return [str(value).strip()] if str(value).strip() else []
