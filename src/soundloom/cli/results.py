"""Results on stdout; nothing else goes there."""

from __future__ import annotations

import json
import sys

from soundloom.cli.streams import escaped


def print_results(results: object) -> None:
    """Print a list line by line, anything else as one JSON object."""
    lines = results if isinstance(results, list) else [json.dumps(results, ensure_ascii=False)]
    text = "".join(f"{line}\n" for line in lines)
    # A program that reads the results gets names as they are.
    sys.stdout.write(escaped(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
