"""`soundloom show`: how a sound was made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.audio.metadata import read_record
from soundloom.cli.options.flags import flag
from soundloom.cli.options.groups import JsonOptions
from soundloom.cli.terminal.results import print_results
from soundloom.errors import AudioError


@dataclass(frozen=True)
class Options(JsonOptions):
    """Say how a sound was made: its prompt, seed, model and all settings, from the file's own tags or its sidecar."""

    file: str = flag(metavar="FILE", help="a sound that soundloom made")


def run(options: Options) -> None:
    path = Path(options.file)
    if not path.is_file():
        raise AudioError(f"there is no file {path}")
    record = read_record(path)
    if record is None:
        raise AudioError(f"{path} does not say how it was made", "only files that soundloom made do")
    print_results(record if options.json else list(_lines(record)))


def _lines(record: dict[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, value in record.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif value != {}:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append(f"{indent}{name}: {text}")
    return lines
