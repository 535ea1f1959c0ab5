"""Sets of sounds, from a folder, a table, or a `set.json`.

A folder holds sounds with captions in any layout of `soundloom.datasets.captioned`. A table is a CSV, TSV or JSON
Lines file with the columns `path` (relative to the table) and `caption`, and optionally `id`, `start`, `end`, `prompt`,
`seed` and `seconds`. A `set.json`, which `write_set` writes, also states name, version and license.

A sound that is missing or cannot be read stays in its set: reading it fails, and the failure is counted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import write_json
from soundloom.audio.metadata import read_record
from soundloom.audio.records import recorded_prompt
from soundloom.datasets.captioned import CaptionedFile, CaptionedFolder
from soundloom.datasets.captions import captions_of
from soundloom.datasets.folders import SOUND_ENDINGS
from soundloom.errors import AudioError, CorruptFileError, RequestError, printable, shown
from soundloom.evaluation.sets.items import SoundItem, prompt_of
from soundloom.evaluation.sets.tables import MAX_TABLE_BYTES, Row, is_table, read_rows, read_table_text, require_columns
from soundloom.untrusted.json import decode_json

SET_FILE = "set.json"
SCHEMA = 1
SHOWN = 5  # ids in an error
SOURCES = "name a folder of sounds, a CSV or JSONL file with path and caption, or a set.json"

__all__ = ["SoundItem", "SoundSet", "read_set", "write_set"]


@dataclass(frozen=True)
class SoundSet:
    """Sounds with distinct ids. `stated` is the hash that a `set.json` states, "" without one."""

    name: str
    items: tuple[SoundItem, ...]
    license: str = ""
    version: str = ""
    stated: str = ""

    def __post_init__(self) -> None:
        if not self.items:
            raise RequestError(f"the set {shown(self.name)} has no sounds", SOURCES)
        require_distinct([item.id for item in self.items], f"the set {shown(self.name)}")

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the sorted list of (id, content hash, start, end); files that cannot be read have hash ""."""
        rows = sorted((item.id, content_hash(item), item.start, item.end) for item in self.items)
        return hash_rows(rows)

    @property
    def changed(self) -> bool:
        """Whether sounds differ from those that a `set.json` was written for."""
        return bool(self.stated) and self.stated != self.hash

    @cached_property
    def missing(self) -> tuple[SoundItem, ...]:
        """The items whose files do not exist."""
        return tuple(item for item in self.items if not item.path.is_file())

    @cached_property
    def durations(self) -> tuple[float, ...]:
        """Seconds of each item by the headers of the files; NaN for those that cannot be read."""
        return tuple(_duration(item) for item in self.items)

    def facts(self) -> dict[str, Any]:
        """Return what a report says about the set, as JSON values."""
        known = np.array([seconds for seconds in self.durations if not np.isnan(seconds)])
        lengths = {"total": known.sum(), "min": known.min(), "median": np.median(known), "max": known.max()}
        return {
            "name": self.name,
            "version": self.version,
            "license": self.license,
            "count": len(self.items),
            "unreadable": len(self.items) - len(known),
            "seconds": {key: round(float(value), 6) for key, value in lengths.items()} if len(known) else {},
            "sha256": self.hash,
        }


def read_set(source: str | Path) -> SoundSet:
    """Read a set from a folder, a table, a `set.json`, a folder that holds one, or a single sound.

    Raises RequestError for a missing, empty or unknown source and repeated ids, CorruptFileError for damaged tables.
    """
    path = Path(source).expanduser()
    if path.is_dir() and (path / SET_FILE).is_file():
        path /= SET_FILE
    if path.is_dir():
        found = SoundSet(path.resolve().name, tuple(_folder_items(path)))
    elif not path.is_file():
        raise RequestError(f"there is no {printable(path)}", SOURCES)
    elif path.suffix.lower() == ".json":
        found = _read_set_file(path)
    elif is_table(path):
        found = SoundSet(path.stem, _table_items(path))
    elif path.suffix.lower() in SOUND_ENDINGS:
        found = SoundSet(path.stem, (_captioned_item(CaptionedFile(path.parent, path)),))
    else:
        raise RequestError(f"{printable(path)} is no set of sounds", SOURCES)
    if len(found.missing) == len(found.items):
        raise RequestError(
            f"none of the {len(found.items)} sounds of {printable(path)} exists: {printable(found.items[0].path)} …",
            "paths in a table are relative to its folder",
        )
    return found


def write_set(path: Path, sounds: SoundSet, more: Mapping[str, Any] | None = None) -> None:
    """Write a set as `set.json`, with paths relative to it, and further facts in `more`. Raises WriteError."""
    items = [_record(item, path.parent) for item in sounds.items]
    write_json(path, {"schema": SCHEMA, **sounds.facts(), **(more or {}), "items": items})


def prompt_numbers(sounds: SoundSet, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of the prompt of each of the sounds; clips of several seeds share theirs."""
    seeds = {item.id: item.seed for item in sounds.items}
    prompts = [prompt_of(id, seeds[id]) for id in ids]
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    return np.array([numbers[prompt] for prompt in prompts], np.int64)


def hash_rows(rows: Sequence[Any]) -> str:
    """Return the SHA-256 of rows as compact JSON."""
    return hashlib.sha256(json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def require_distinct(ids: Iterable[str], where: str) -> None:
    """Raise RequestError for ids that appear twice."""
    if repeated := [name for name, count in Counter(ids).items() if count > 1]:
        listed = ", ".join(shown(name) for name in repeated[:SHOWN]) + (" …" if len(repeated) > SHOWN else "")
        raise RequestError(
            f"{where} has {len(repeated)} ids more than once: {listed}", "give each row an id of its own"
        )


def _folder_items(folder: Path) -> Iterator[SoundItem]:
    for entry in CaptionedFolder(folder).entries():
        assert isinstance(entry, CaptionedFile)
        yield _captioned_item(entry)


def _captioned_item(file: CaptionedFile) -> SoundItem:
    """Return the item of a file in a folder. Clips that soundloom generated state their prompt and seed."""
    # An empty origin: prompts that are made from tags must not depend on the name of the file.
    captions = captions_of(file.read_metadata(), "")
    try:
        record = read_record(file.path) or {}
    except AudioError:
        record = {}  # the file cannot be read, which is a failure of the item
    prompt, seed = recorded_prompt(record), record.get("seed")
    return SoundItem(
        file.origin,
        file.path,
        captions[0] if captions else prompt,
        prompt=prompt,
        seed=seed if isinstance(seed, int) else None,
    )


def _table_items(path: Path) -> tuple[SoundItem, ...]:
    rows = list(read_rows(path))
    if rows and "file_name" not in rows[0].values:
        require_columns(rows, path, "path")
    return tuple(_item(row, path.parent) for row in rows)


def _item(row: Row, folder: Path) -> SoundItem:
    """Return the item of a row of a table or of a `set.json`. Without an id, the path and the cut identify it."""
    file, start, end = row.need("path", "file_name"), row.number("start"), row.number("end")
    cut = "" if start is None and end is None else f"@{start or 0:g}-{'' if end is None else f'{end:g}'}"
    prompt = row.text("prompt")
    if "\0" in file:
        raise CorruptFileError(f"{row.where} has path '{shown(file)}', which is not a file name")
    try:
        return SoundItem(
            row.text("id") or f"{file}{cut}",
            folder / file,
            row.text("caption", "text") or prompt,
            start or 0.0,
            end,
            prompt,
            row.integer("seed"),
            row.number("seconds"),
        )
    except CorruptFileError as error:
        raise CorruptFileError(f"{row.where}: {error.args[0]}") from error


def _read_set_file(path: Path) -> SoundSet:
    name = printable(path)
    try:
        data = decode_json(read_table_text(path), MAX_TABLE_BYTES)
    except ValueError as error:
        raise CorruptFileError(f"{name} is not JSON: {error}") from error
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise CorruptFileError(f"{name} is no set of sounds: it has no list of items", SOURCES)
    if data.get("schema") != SCHEMA:
        raise CorruptFileError(
            f"{name} has schema {shown(data.get('schema'))}, and this version reads {SCHEMA}", "write it again"
        )
    rows = [Row(item, f"item {number} of {name}") for number, item in enumerate(items, 1)]
    facts = Row(data, name)
    found = SoundSet(facts.text("name") or path.stem, tuple(_item(row, path.parent) for row in rows))
    return replace(found, license=facts.text("license"), version=facts.text("version"), stated=facts.text("sha256"))


def _record(item: SoundItem, folder: Path) -> dict[str, Any]:
    """Return an item as JSON values; empty ones are left out."""
    record = {
        "id": item.id,
        "path": _relative(item.path, folder),
        "caption": item.caption,
        "start": item.start or None,
        "end": item.end,
        "prompt": item.prompt,
        "seed": item.seed,
        "seconds": item.seconds,
        "sha256": content_hash(item),
    }
    return {key: value for key, value in record.items() if value not in (None, "")}


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.resolve().as_posix()


def content_hash(item: SoundItem) -> str:
    try:
        return item.content_hash
    except AudioError:
        return ""


def _duration(item: SoundItem) -> float:
    try:
        return item.duration()
    except AudioError:
        return float("nan")
