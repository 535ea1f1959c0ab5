"""Folders of sound files in the layouts of adapter training sets: each sound has one source of captions.

The first of these that states a caption or tags counts: NAME.json beside the sound or in a folder `json` beside it;
NAME.txt, or in a folder `txt`, the whole text of which is the caption; the row of the file in a `metadata.csv` or
`metadata.jsonl` (columns `file_name`, and `caption` or `text`) beside it or at the root; tags in the file.
Names of files and folders are never captions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundloom.audio.metadata import read_embedded_tags
from soundloom.datasets.captions import captions_of
from soundloom.datasets.examples import list_files, parse_metadata, read_small_file
from soundloom.datasets.folders import SOUND_ENDINGS, Folder, SoundFile
from soundloom.errors import AudioError, CorruptFileError, printable

TABLES = ("metadata.csv", "metadata.jsonl")
FILE_COLUMN = "file_name"

Rows = Mapping[Path, Mapping[str, Any]]


@dataclass(frozen=True)
class CaptionedFile(SoundFile):
    """A sound file with the rows of all tables of its folder, by path."""

    rows: Rows = field(default_factory=dict)

    def read_metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for metadata in self._sources():
            found = {**metadata, **found}
            if captions_of(metadata, self.origin):
                return found
        return found

    def _sources(self) -> Iterator[Mapping[str, Any]]:
        """Yield the metadata of each source in turn."""
        name = printable(self.path.with_suffix(""))
        for path in self._sidecars(".json"):
            yield parse_metadata(read_small_file(path), printable(path))
        for path in self._sidecars(".txt"):
            yield {"captions": [_text(read_small_file(path), f"{name}.txt")]}
        yield self.rows.get(self.path, {})
        try:
            tags = read_embedded_tags(self.path)
        except AudioError:
            return  # tags that cannot be read are no captions; whether the sound can be is checked elsewhere
        yield {key: value for key, value in tags.items() if not self._is_name(value)}

    def _sidecars(self, ending: str) -> Iterator[Path]:
        for folder in (self.path.parent, self.path.parent / ending[1:]):
            path = folder / f"{self.path.stem}{ending}"
            if path.is_file():
                yield path

    def _is_name(self, value: object) -> bool:
        """Whether a tag only repeats the name of the file, as many programs fill in titles."""
        names = {self.path.stem.casefold(), self.path.name.casefold()}
        return isinstance(value, list) and all(str(text).strip().casefold() in names for text in value)


class CaptionedFolder(Folder):
    """All sound files below a folder. Raises CorruptFileError for tables that cannot be read."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        tables = [path for path in list_files(self.root) if path.name in TABLES]
        self.rows = {path: row for table in tables for path, row in _read_table(table)}

    def entries(self) -> Iterator[SoundFile]:
        for path in list_files(self.root):
            if path.suffix.lower() in SOUND_ENDINGS:
                yield CaptionedFile(self.root, path, self.rows)


def _read_table(path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    text, name = _text(read_small_file(path), printable(path)), printable(path)
    rows: Iterator[Mapping[str, Any]]
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text, newline=""))
    else:
        lines = (line for line in text.splitlines() if line.strip())
        rows = (parse_metadata(line.encode(), f"line {number} of {name}") for number, line in enumerate(lines, 1))
    try:
        for number, row in enumerate(rows, 1):
            file = row.get(FILE_COLUMN)
            if not isinstance(file, str) or not file:
                raise CorruptFileError(f"row {number} of {name} lacks {FILE_COLUMN}")
            yield path.parent / file, {key: value for key, value in row.items() if isinstance(key, str)}
    except csv.Error as error:
        raise CorruptFileError(f"{name} is not a CSV file: {error}") from error


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{name} is not UTF-8 text: {error}") from error
