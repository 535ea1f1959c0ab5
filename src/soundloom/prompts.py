r"""The syntax of prompts: `(warm piano:1.3)` weights a phrase, and `\(` is a literal parenthesis.

Groups nest, and their weights multiply. Parentheses without `:number` at their end are plain text. The published MLX
runtime (optimized/mlx/scripts/prompt_weighting.py) has the same groups, with less: no nesting, no colon in a phrase, no
escapes. `style="flat"` parses as it does; `style="none"` takes everything for text, as the published package does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from soundloom.errors import RequestError, shown

Style = Literal["nested", "flat", "none"]
Span = tuple[int, int, float]

MAX_WEIGHT = 10.0  # of a phrase, positive or negative; beyond 2 most models only distort
MAX_NUMBER = 16  # characters of a weight
_MARKS = re.compile(r"\\[()]|[()]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_FLAT = re.compile(r"\(([^():]+):([+-]?[0-9]+(?:\.[0-9]+)?)\)")


@dataclass(frozen=True)
class WeightedText:
    """The text of a prompt, and ascending spans (start, end, weight) of its characters; all others weigh 1."""

    text: str
    spans: tuple[Span, ...] = ()


def parse_weights(prompt: str, style: Style = "nested") -> WeightedText:
    """Split a prompt into text and weights. Raises RequestError for a weight beyond ±10."""
    if style == "none" or ("(" not in prompt and "\\" not in prompt):
        return WeightedText(prompt)
    pieces = _flat_pieces(prompt) if style == "flat" else _nested_pieces(prompt)
    parts: list[str] = []
    spans: list[Span] = []
    length = 0
    for piece, weight in pieces:
        if piece and not abs(weight) <= MAX_WEIGHT:
            raise RequestError(
                f"the weight {weight:g} of '{shown(piece)}' must be between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}",
                r"useful weights lie between 0 and 2; write \( for a parenthesis that is text",
            )
        end = length + len(piece)
        if weight != 1 and piece:
            if spans and spans[-1][1:] == (length, weight):
                spans[-1] = (spans[-1][0], end, weight)
            else:
                spans.append((length, end, weight))
        parts.append(piece)
        length = end
    return WeightedText("".join(parts), tuple(spans))


def plain_text(prompt: str) -> str:
    """Return the text of a prompt without its weights, for names, titles and word checks."""
    try:
        return parse_weights(prompt).text
    except RequestError:  # in files of other programs
        return prompt


def escape_weights(text: str) -> str:
    """Return a prompt that means `text` literally."""
    try:
        if parse_weights(text) == WeightedText(text):
            return text
    except RequestError:
        pass
    return text.replace("(", r"\(").replace(")", r"\)")


def _nested_pieces(prompt: str) -> Iterator[tuple[str, float]]:
    """Yield the pieces of text with their weights."""
    weights, colons = _groups(prompt)
    open_weights: list[float] = []  # of the groups around the current position
    weight, start = 1.0, 0
    for mark in _MARKS.finditer(prompt):
        place = mark.start()
        if len(mark[0]) == 2:
            yield prompt[start:place], weight
            start = place + 1  # without the backslash
        elif place in weights:
            yield prompt[start:place], weight
            open_weights.append(weight)
            weight, start = weight * weights[place], place + 1
        elif place in colons:
            yield prompt[start : colons[place]], weight
            weight, start = open_weights.pop(), place + 1
    yield prompt[start:], weight


def _groups(prompt: str) -> tuple[dict[int, float], dict[int, int]]:
    """Return the weight of each group by the place of its "(", and the place of its colon by that of its ")"."""
    weights: dict[int, float] = {}
    colons: dict[int, int] = {}
    opened: list[int] = []
    for mark in _MARKS.finditer(prompt):
        place = mark.start()
        if mark[0] == "(":
            opened.append(place)
        elif mark[0] == ")" and opened:
            first = opened.pop()
            colon = prompt.rfind(":", max(first, place - MAX_NUMBER - 1), place)
            if colon > first + 1 and _NUMBER.fullmatch(prompt, colon + 1, place):
                weights[first], colons[place] = float(prompt[colon + 1 : place]), colon
    return weights, colons


def _flat_pieces(prompt: str) -> Iterator[tuple[str, float]]:
    start = 0
    for group in _FLAT.finditer(prompt):
        yield prompt[start : group.start()], 1.0
        yield group[1], float(group[2])
        start = group.end()
    yield prompt[start:], 1.0
