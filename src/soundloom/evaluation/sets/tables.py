"""Rows of CSV and JSON Lines tables, with errors that name the row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from soundloom.errors import CorruptFileError, RequestError, printable, shown
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json
from soundloom.untrusted.limits import read_limited

CSV_ENDINGS, JSONL_ENDINGS = (".csv", ".tsv"), (".jsonl", ".ndjson")
MAX_TABLE_BYTES = 1 << 28  # bytes; a table of 50,000 captions has about 5 million
MAX_SEED = 2**63 - 1


class Row:
    """A row of a table: values by column, whose names ignore case. `where` names it in errors."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = {name.strip().lower(): value for name, value in values.items() if isinstance(name, str)}
        self.where = where

    def text(self, *columns: str) -> str:
        """Return the first of these columns that is not empty, as text; "" without one."""
        for column in columns:
            value = self.values.get(column)
            if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
                return str(value).strip()
        return ""

    def need(self, *columns: str) -> str:
        """Return the same. Raises CorruptFileError without one."""
        if not (found := self.text(*columns)):
            raise CorruptFileError(f"{self.where} has no {columns[0]}", f"found: {self._columns()}")
        return found

    def number(self, *columns: str) -> float | None:
        """Return a column as a finite number; None if it is empty. Raises CorruptFileError."""
        if not (text := self.text(*columns)):
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise CorruptFileError(f"{self.where} has {columns[0]} '{shown(text)}', which is not a number")
        return number

    def integer(self, column: str) -> int | None:
        """Return a column as an integer from 0 to 2^63 - 1; None if it is empty. Raises CorruptFileError."""
        if not (text := self.text(column)):
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= MAX_SEED):
            raise CorruptFileError(f"{self.where} has {column} '{shown(text)}', which is not an integer from 0")
        return int(text)

    def _columns(self) -> str:
        return ", ".join(shown(name) for name in self.values) or "nothing"


def is_table(path: Path) -> bool:
    return path.suffix.lower() in (*CSV_ENDINGS, *JSONL_ENDINGS)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV, TSV or JSON Lines file. Raises RequestError or CorruptFileError."""
    text = read_table_text(path)
    if path.suffix.lower() in CSV_ENDINGS:
        return _csv_rows(text, path)
    return _json_rows(text, path)


def read_table_text(path: Path) -> str:
    """Return a table's text. Raises RequestError if there is no such file, else CorruptFileError."""
    name = printable(path)
    try:
        return read_limited(path, MAX_TABLE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{name} is not UTF-8 text: {error.reason}", "save it as UTF-8") from error
    except ValueError as error:
        raise CorruptFileError(f"{name} is too long for a table: {error}") from error
    except OSError as error:
        raise RequestError(f"{name} cannot be read: {error.strerror}", "check the path") from error


def require_columns(rows: Sequence[Row], path: Path, *columns: str) -> None:
    """Raise CorruptFileError if a table with rows lacks columns."""
    lacking = [column for column in columns if rows and column not in rows[0].values]
    if lacking:
        raise CorruptFileError(
            f"{printable(path)} has no column {' and no column '.join(lacking)}",
            f"found: {', '.join(shown(name) for name in rows[0].values)}",
        )


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    name, delimiter = printable(path), "\t" if path.suffix.lower() == ".tsv" else ","
    # Spaces after commas, as in the published table of MusicCaps, are no part of names and values.
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for number, row in enumerate(rows, 1):
            yield Row(row, f"row {number} of {name}")
    except csv.Error as error:
        raise CorruptFileError(f"{name} is not a CSV file: {error}") from error


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number} of {printable(path)}"
        try:
            row = decode_json(line, MAX_RECORD_BYTES)
        except ValueError as error:
            raise CorruptFileError(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CorruptFileError(f"{where} holds a {type(row).__name__}, not a JSON object")
        yield Row(row, where)
