"""The prompts of the benchmark of controls: a fixed list, so that figures of models and versions can be compared."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from soundloom.errors import RequestError, shown

FILE = Path(__file__).with_name("prompts.csv")
VERSION = "1"
LONGEST = "longest"  # the model's longest pass, as a duration
Control = Literal["tempo", "key", "pitch", "duration", "loudness", "side", "loop", "instrument", "instrumental"]
CONTROLS: tuple[Control, ...] = get_args(Control)
TAGGED: tuple[Control, ...] = ("instrument", "instrumental")  # heard by a classifier


@dataclass(frozen=True)
class ControlPrompt:
    """A prompt and what it asks for: BPM, a key, a note or Hz, seconds, LUFS, a side, BPM of a loop, or a tag.

    `for_mini` says whether `mini` knows all of its words.
    """

    id: str
    control: Control
    text: str
    asked: str
    for_mini: bool

    def seconds(self, default: float, longest: float) -> float:
        """Return the length of the clip: that asked for, or the default, but no more than the model's longest pass."""
        if self.control != "duration":
            return min(default, longest)
        return longest if self.asked == LONGEST else float(self.asked)


@lru_cache(maxsize=1)
def read_control_prompts() -> tuple[ControlPrompt, ...]:
    """Return all prompts of the list."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            ControlPrompt(row["id"], require_control(row["control"]), row["prompt"], row["asked"], row["mini"] == "yes")
            for row in csv.DictReader(file)
        )


def list_hash() -> str:
    """Return the SHA-256 of the list."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


def prompts_of(control: str, longest: float = math.inf) -> tuple[ControlPrompt, ...]:
    """Return the prompts of a control, without durations beyond `longest` seconds. Raises RequestError."""
    name = require_control(control)
    return tuple(one for one in read_control_prompts() if one.control == name and one.seconds(0.0, longest) <= longest)


def spread(prompts: Sequence[ControlPrompt], count: int | None) -> tuple[ControlPrompt, ...]:
    """Return at most `count` prompts, evenly spread over the list; None returns all."""
    if count is None or count >= len(prompts):
        return tuple(prompts)
    return tuple(prompts[place] for place in np.linspace(0, len(prompts) - 1, count).round().astype(int))


def require_control(name: str) -> Control:
    """Return the name of a control. Raises RequestError for others."""
    for control in CONTROLS:
        if name == control:
            return control
    raise RequestError(f"there is no control '{shown(name)}'", f"controls: {', '.join(CONTROLS)}")
