"""Select layers by parts of their names, as the `include` and `exclude` lists of adapter files do.

A pattern matches a layer whose name contains it. `[0-5]` stands for each number from 0 to 5 in turn, written as text,
so that `layers.1` also matches layers.10; `layers.1.` does not. The names of groups (`lora.modules.GROUPS`) are
patterns too. Source: stable-audio-3, its filters; it ignores the undotted spelling `layers[0-5]` of its own documents.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from soundloom.errors import RequestError, shown
from soundloom.lora.modules import GROUPS

_RANGE = re.compile(r"\[(\d+)-(\d+)\]")
_UNDOTTED = re.compile(r"(?<=\w)\[(\d+)-(\d+)\](?!\.)")
_MAX_EXPANDED = 10_000


def expand(pattern: str) -> list[str]:
    """Return the texts that a pattern stands for. Raises RequestError where there are too many."""
    expanded = [pattern]
    while any(_RANGE.search(text) for text in expanded):
        expanded = [part for text in expanded for part in _expand_first(text)]
        if len(expanded) > _MAX_EXPANDED:
            raise RequestError(f"the pattern {shown(pattern)!r} stands for more than {_MAX_EXPANDED} names")
    return expanded


def _expand_first(text: str) -> list[str]:
    found = _RANGE.search(text)
    if found is None:
        return [text]
    first, last = int(found[1]), int(found[2])
    if abs(last - first) > _MAX_EXPANDED:
        raise RequestError(f"the range {found[0]} stands for more than {_MAX_EXPANDED} numbers")
    step = 1 if last >= first else -1
    return [text[: found.start()] + str(n) + text[found.end() :] for n in range(first, last + step, step)]


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches the name of a layer in adapter files, such as `model.transformer.layers.0.ff.ff.2`."""
    if pattern in GROUPS:
        return any(part in f".{name}." for part in GROUPS[pattern])
    dotted = _UNDOTTED.sub(r".[\1-\2].", pattern.strip())
    return any(text in f".{name}." for text in expand(dotted))


def portable(patterns: Iterable[str]) -> list[str]:
    """Return patterns that mean the same in the published package: names of groups and `layers[0-5]` are rewritten."""
    spelled = (GROUPS.get(pattern, (_UNDOTTED.sub(r".[\1-\2].", pattern.strip()),)) for pattern in patterns)
    return [part for parts in spelled for part in parts]


def matches_published(pattern: str, name: str) -> bool:
    """Whether the published package's run-time filter matches a layer of the transformer: as text, in lower case."""
    text = name.removeprefix("model.").lower()
    return name.startswith("model.") and any(part in text for part in expand(pattern.strip().lower()))


def select(names: Iterable[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Return the names that match any of `include` (all, if it is empty) and none of `exclude`."""
    chosen = (name for name in names if not include or any(matches(pattern, name) for pattern in include))
    return [name for name in chosen if not any(matches(pattern, name) for pattern in exclude)]


def require_matches(patterns: Iterable[str], names: Sequence[str], what: str) -> None:
    """Raise RequestError for a pattern that matches no name; `what` says whose pattern it is."""
    for pattern in patterns:
        if any(matches(pattern, name) for name in names):
            continue
        words = sorted({part for name in names for part in name.split(".") if not part.isdecimal()})
        close = difflib.get_close_matches(pattern.strip(".").split(".")[-1], words, 3, 0.5)
        near = f"near it: {', '.join(close)}; " if close else ""
        raise RequestError(
            f"{what} {shown(pattern)!r} matches no layer", f"{near}groups: {', '.join(GROUPS)}; or a part of a name"
        )
