"""Options that finish clips: trimming, fades, and the level."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from soundloom.audio.finish import Finish
from soundloom.audio.levels import Level
from soundloom.cli.options.flags import flag
from soundloom.errors import RequestError

AS_IT_IS = "none"
OptionsT = TypeVar("OptionsT", bound="FinishOptions")


@dataclass(frozen=True)
class FinishOptions:
    """Finish."""

    normalize: str | None = flag(
        "--normalize",
        metavar="LEVEL",
        signed=True,
        help="set the level: -16lufs (loudness), -1dbtp (true peak), -3db (sample peak), or none",
    )
    lufs: float | None = flag("--lufs", type=float, metavar="TARGET", help="--lufs -14 means --normalize -14lufs")
    true_peak: float | None = flag("--true-peak", type=float, metavar="DBTP", help="limit for a loudness (default: -1)")
    trim_silence: bool | None = flag(
        "--trim-silence",
        action=argparse.BooleanOptionalAction,
        help="cut off silence before and after the sound, except for 10 ms",
    )
    trim_threshold: float | None = flag(
        "--trim-threshold",
        type=float,
        signed=True,
        metavar="DB",
        help="below this, relative to the peak, is silence (default: -60)",
    )
    fade_in: float | None = flag("--fade-in", type=float, metavar="S", help="fade in, in seconds")
    fade_out: float | None = flag("--fade-out", type=float, metavar="S", help="fade out, in seconds")

    def finish(self) -> Finish:
        """Return the settings. Raises RequestError."""
        level = self._level()
        if self.true_peak is not None and not (level and level.endswith("lufs")):
            raise RequestError(
                "--true-peak is the limit of --lufs, which is not given", "give --lufs -14, or leave it out"
            )
        if self.trim_threshold is not None and not self.trim_silence:
            raise RequestError("--trim-threshold has no effect without --trim-silence", "give both, or neither")
        given: dict[str, Any] = {
            "trim_silence": self.trim_silence,
            "threshold": self.trim_threshold,
            "fade_in": self.fade_in,
            "fade_out": self.fade_out,
            "normalize": level,
            "true_peak": self.true_peak,
        }
        return Finish(**{name: value for name, value in given.items() if value is not None})

    def _level(self) -> str | None:
        if self.lufs is None:
            return None if self.normalize in (None, AS_IT_IS) else str(Level.parse(self.normalize or ""))
        if self.normalize is not None:
            raise RequestError("--lufs and --normalize both set the level", "give one of them")
        return str(Level(self.lufs, "lufs"))


def with_recorded_finish(options: OptionsT, record: Mapping[str, Any]) -> OptionsT:
    """Return options that also finish a clip as the record says, where the flags do not. Raises RequestError."""
    recorded, changes = Finish.from_record(record), dict[str, Any]()
    if recorded.trim_silence and options.trim_silence is None:
        threshold = recorded.threshold if options.trim_threshold is None else options.trim_threshold
        changes |= {"trim_silence": True, "trim_threshold": threshold}
    for name in ("fade_in", "fade_out"):
        if getattr(options, name) is None:
            changes[name] = getattr(recorded, name)
    if recorded.normalize and options.normalize is None and options.lufs is None:
        changes["normalize"] = recorded.normalize
        if recorded.normalize.endswith("lufs") and options.true_peak is None:
            changes["true_peak"] = recorded.true_peak
    return replace(options, **changes)
