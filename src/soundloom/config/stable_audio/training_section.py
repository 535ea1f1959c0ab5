"""Read a model's limits from the `training` section of its configuration; published models lack these fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from soundloom.errors import ConfigError, shown

CLIP_SECONDS, SOUND_NAMES = "clip_seconds", "sound_names"


def clip_seconds(training: Mapping[str, Any], shortest: float, longest: float) -> tuple[float, float]:
    """Return the shortest and longest training clip, by default the limits of the model. Raises ConfigError."""
    given = training.get(CLIP_SECONDS, (0, math.inf))
    if not (isinstance(given, list | tuple) and [type(x) in (int, float) for x in given] == [True, True]):
        raise ConfigError(f"training.{CLIP_SECONDS} must be two numbers of seconds, found {shown(given)}")
    low, high = given
    if not (0 <= low <= longest and max(low, shortest) <= high):
        raise ConfigError(f"training.{CLIP_SECONDS} must be ascending within the model's length, found {shown(given)}")
    return float(low), float(min(high, longest))


def sound_names(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Return words for the sounds that a model with a word-level vocabulary knows. Raises ConfigError."""
    given = training.get(SOUND_NAMES, [])
    if not (isinstance(given, list | tuple) and all(isinstance(x, str) and x.isprintable() for x in given)):
        raise ConfigError(f"training.{SOUND_NAMES} must be a list of words, found {shown(given)}")
    return tuple(given)
