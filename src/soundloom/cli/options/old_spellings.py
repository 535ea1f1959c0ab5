"""Old spellings of flags that a hidden alias cannot express."""

from __future__ import annotations

from collections.abc import Sequence

_SAVING = ("bench", "eval")  # commands whose --json took a file, as --save does now


def with_current_spellings(arguments: Sequence[str]) -> list[str]:
    """Replace `--json FILE.json` with `--save FILE.json` in the arguments of `soundloom`."""
    current: list[str] = list(arguments)
    if current[:1] and current[0] in _SAVING:
        for i, argument in enumerate(current):
            if argument.startswith("--json="):
                current[i] = "--save" + argument.removeprefix("--json")
            elif argument == "--json" and current[i + 1 : i + 2] and current[i + 1].endswith(".json"):
                current[i] = "--save"
    return current
