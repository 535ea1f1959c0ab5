"""Results on stdout; nothing else goes there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from soundloom.cli.terminal.streams import escaped


def print_results(results: object) -> None:
    """Print a list line by line, anything else as one JSON object."""
    lines = results if isinstance(results, list) else [json.dumps(results, ensure_ascii=False)]
    text = "".join(f"{line}\n" for line in lines)
    # A program that reads the results gets names as they are.
    sys.stdout.write(escaped(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def note_saved(error: BaseException, files: Sequence[str], total: int) -> None:
    """Let an error tell what was saved before it, of so many clips."""
    error.add_note(f"saved {len(files)} of {total} clips")
    vars(error)["files"] = list(files)


def saved_files(error: BaseException) -> list[str]:
    """The files that were saved before an error."""
    files: list[str] = vars(error).get("files", [])
    return files
