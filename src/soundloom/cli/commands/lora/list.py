"""`soundloom lora list`: list the adapters of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.terminal.results import print_results
from soundloom.errors import SoundloomError, printable
from soundloom.folders import expanded, loras_folder
from soundloom.lora.files.find import list_adapters
from soundloom.lora.files.read import read_adapter
from soundloom.lora.guardrails import canonical_model, fitting_models

_COLUMNS = ("name", "type", "rank", "layers", "model", "trigger")


@dataclass(frozen=True)
class Options(JsonOptions):
    """List the adapters of a folder by the names under which --lora finds them.

    The default folder is that in SOUNDLOOM_LORAS, or `loras` among the data of soundloom.
    """

    folder: str | None = flag(nargs="?", metavar="FOLDER", help="a folder of adapters")


def run(options: Options) -> None:
    folder = expanded(options.folder) if options.folder else loras_folder()
    found = [describe(name, path) for name, path in list_adapters(folder).items()]
    if options.json:
        print_results({"folder": str(folder), "adapters": found})
        return
    print_results(_table(found) if found else [f"there are no adapters in {folder}"])


def describe(name: str, path: Path) -> dict[str, Any]:
    """Return facts about an adapter, or why it cannot be used."""
    try:
        adapter = read_adapter(path)
    except (SoundloomError, OSError) as error:
        return {"name": name, "file": str(path), "error": str(error.args[0])}
    named = adapter.config.get("base_model")
    return {
        "name": name,
        "file": str(path),
        "type": adapter.type,
        "rank": adapter.rank,
        "layers": len(adapter.modules),
        "model": canonical_model(named) or named or " or ".join(fitting_models(adapter)) or None,
        "trigger": adapter.hints.get("trigger"),
        "sha256": adapter.sha256,
    }


def _table(found: list[dict[str, Any]]) -> list[str]:
    rows = [_COLUMNS, *(tuple(_cell(one.get(key)) for key in _COLUMNS) for one in found if "error" not in one)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    broken = [f"{printable(one['name'])}: {printable(one['error'])}" for one in found if "error" in one]
    return [*(lines if len(rows) > 1 else []), *broken]


def _cell(value: object) -> str:
    return "-" if value is None else printable(value)
