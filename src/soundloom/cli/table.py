"""Write the table of --csv: one row per clip, as soon as it is saved."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from soundloom.atomic import atomic_file, write_errors
from soundloom.audio.clip import Clip
from soundloom.audio.levels import decibels
from soundloom.audio.loudness import integrated_loudness, true_peak
from soundloom.audio.records import recorded_prompt
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.outputs import require_writable
from soundloom.errors import WriteError, escape, utf8_name

COLUMNS = (
    *("file", "status", "prompt", "seed", "model", "seconds", "peak_db", "true_peak_db", "lufs", "warnings"),
    *("tempo", "tempo_confidence", "key", "key_confidence", "pitch", "sound_seconds", "score", "reason"),
)
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # how spreadsheets recognize formulas
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tabs and line breaks, which CSV can quote


class ClipTable:
    """A CSV file in UTF-8; rows that were added are on disk, also if the command is interrupted."""

    def __init__(self, path: Path, overwrite: bool | None) -> None:
        """Check that the file can be written; an existing one is replaced when the first row is added."""
        self.path = path
        self._rows: dict[int, Mapping[str, Any]] = {}
        if path.exists() and overwrite is False:
            raise WriteError(f"{path} exists already", "choose another name, or leave out --no-overwrite")
        require_writable(path.parent)

    def __contains__(self, index: int) -> bool:
        return index in self._rows

    def add(self, index: int, row: Mapping[str, Any]) -> None:
        """Append the row of a clip. Raises WriteError."""
        self._rows[index] = row
        if len(self._rows) == 1:
            self._write(self._rows.values())
            return
        with write_errors(self.path), self.path.open("ab") as file:
            file.write(_line(_cells(row)))
            file.flush()
            os.fsync(file.fileno())

    def update(self, index: int, changes: Mapping[str, Any]) -> None:
        """Change the row of a clip, or add one; `finish` writes it."""
        self._rows[index] = {**self._rows.get(index, {}), **changes}

    def finish(self) -> None:
        """Write all rows again, with what has changed, in the order of the clips."""
        self._write(self._rows[index] for index in sorted(self._rows))

    def _write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with atomic_file(self.path) as file:
            file.write(_line(COLUMNS))
            for row in rows:
                file.write(_line(_cells(row)))


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [_cell(row.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:
    """Return a value as text; numbers that are unknown or infinite are empty, and formulas start with an apostrophe."""
    if value is None or value in (float("inf"), -float("inf")):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    text = CONTROL.sub(lambda found: escape(found[0]), utf8_name(str(value)))
    return f"'{text}" if text.lstrip().startswith(FORMULA) or text[:1] in ("\t", "\n") else text


def _line(cells: Iterable[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode("utf-8")


def recorded_facts(clip: Clip) -> dict[str, Any]:
    """Return what is known of a clip without measuring it."""
    names = ("seed", "model")
    return {
        "prompt": recorded_prompt(clip.record),
        "seconds": clip.seconds,
        **{name: clip.record.get(name) for name in names},
    }


def saved_facts(path: Path) -> dict[str, Any]:
    """Return levels and warnings of a saved file."""
    clip: Clip = StreamedClip.open(path)
    stream = clip.stream()
    return {
        "seconds": clip.seconds,
        "peak_db": decibels(stream.peak()),
        "true_peak_db": true_peak(stream, clip.sample_rate),
        "lufs": integrated_loudness(stream, clip.sample_rate),
        "warnings": "; ".join(clip.record.get("warnings", ())),
    }
