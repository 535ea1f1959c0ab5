"""Print results to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from soundloom.cli.terminal.streams import escaped


def print_results(results: object) -> None:
    """Print a list line by line, anything else as one JSON object."""
    lines = results if isinstance(results, list) else [json.dumps(results, ensure_ascii=False)]
    text = "".join(f"{line}\n" for line in lines)
    # Programs get names unescaped.
    sys.stdout.write(escaped(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def note_saved(error: BaseException, files: Sequence[str], total: int) -> None:
    """Attach the files that were saved before an error."""
    error.add_note(f"saved {len(files)} of {total} clips")
    vars(error)["files"] = list(files)


def saved_files(error: BaseException) -> list[str]:
    """Return the files that were saved before an error."""
    files: list[str] = vars(error).get("files", [])
    return files
