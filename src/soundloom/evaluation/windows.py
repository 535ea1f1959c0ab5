"""Where the windows of a clip begin, by the rules of published systems. No window is placed at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tail = Literal["every hop", "whole only", "until a hop before the end", "last at the end"]


@dataclass(frozen=True)
class WindowPlan:
    """First samples of windows, and how many samples of each are sound; the rest is padding."""

    starts: tuple[int, ...]
    filled: tuple[int, ...]


def plan_windows(samples: int, window: int, hop: int, tail: Tail) -> WindowPlan:
    """Place windows of `window` samples in a clip. A clip that is shorter has one window, but by "every hop".

    - "every hop": one at each hop inside the clip, the last ones partly beyond it (fadtk, kadtk, audiobox).
    - "whole only": only those that lie inside (stable-audio-tools).
    - "until a hop before the end": hops up to the last but one (stable-audio-metrics).
    - "last at the end": those inside; a rest of half a window or more becomes one that ends with the clip (our rule).
    """
    if tail == "every hop":
        starts = list(range(0, samples, hop))
    elif samples <= window:
        starts = [0] if samples else []
    elif tail == "until a hop before the end":
        starts = list(range(0, max(samples - hop, 1), hop))
    else:
        starts = list(range(0, samples - window + 1, hop))
        if tail == "last at the end" and samples - (starts[-1] + window) >= window / 2:
            starts.append(samples - window)
    return WindowPlan(tuple(starts), tuple(min(window, samples - start) for start in starts))
