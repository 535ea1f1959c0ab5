"""Results on stdout; nothing else goes there."""

from __future__ import annotations

import json
import sys


def print_results(results: object) -> None:
    """Print a list line by line, anything else as one JSON object."""
    lines = results if isinstance(results, list) else [json.dumps(results, ensure_ascii=False)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
