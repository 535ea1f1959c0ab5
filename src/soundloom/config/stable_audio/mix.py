"""How much of a second prompt a clip follows: a share, or a curve over the time of the clip."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from soundloom.config.values import as_float
from soundloom.errors import RequestError, shown

Curve = tuple[tuple[float, float], ...]  # (seconds, share), ascending; linear between points, constant beyond them
Mix = float | Curve

DEFAULT_MIX = 0.5
MAX_POINTS = 1000
MAX_TIME = 86_400.0  # seconds
HINT = "0.4 follows the second prompt by 0.4; a curve is 0:0, 2:1 in the command line, [(0, 0), (2, 1)] in Python"


def check_mix(value: Any) -> Mix:
    """Return a share from 0 to 1, or a curve; a constant curve is its share. Raises RequestError."""
    if not isinstance(value, list | tuple):
        return _share(value)
    if not 1 <= len(value) <= MAX_POINTS:
        raise RequestError(f"a mix curve has 1 to {MAX_POINTS} points, found {len(value)}", HINT)
    points = tuple(_point(point) for point in value)
    for (time, _), (next_time, _) in pairwise(points):
        if not time < next_time:
            raise RequestError(f"the times of a mix curve must ascend, found {time:g} s before {next_time:g} s")
    shares = {share for _, share in points}
    return shares.pop() if len(shares) == 1 else points


def parse_mix(text: str) -> Mix:
    """Parse `0.4`, or the points of a curve as `SECONDS:SHARE`, separated by commas. Raises RequestError."""
    parts = [part.split(":") for part in text.split(",")]
    try:
        points = [[float(number) for number in part] for part in parts]
    except ValueError:
        raise RequestError(f"the mix '{shown(text)}' is neither a number nor a curve", HINT) from None
    return check_mix(points[0][0] if parts == [[text]] else points)


def _point(point: Any) -> tuple[float, float]:
    if not isinstance(point, list | tuple) or len(point) != 2:
        raise RequestError(f"a point of a mix curve is (seconds, share), found {shown(point)}", HINT)
    time, share = as_float("the time of a mix curve's point", point[0]), _share(point[1])
    if not 0 <= time <= MAX_TIME:  # also for a time that is not a number
        raise RequestError(f"the times of a mix curve lie between 0 and {MAX_TIME:g} s, found {time:g}")
    return time, share


def _share(value: Any) -> float:
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise RequestError(f"a mix must be a number or the points of a curve, found {shown(value)}", HINT)
    share = as_float("a mix", value)
    if math.isnan(share) or not 0 <= share <= 1:
        raise RequestError(f"a mix must be between 0 and 1, found {share:g}", HINT)
    return share
