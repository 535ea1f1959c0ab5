"""Finish clips, always in this order: trim silence, fade in and out, resample, set the level.

`Finish` holds the settings, which records store, so that they can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.levels import Level
from soundloom.audio.loudness import TRUE_PEAK
from soundloom.audio.records import with_finish
from soundloom.audio.shaping import SILENCE_MARGIN, SILENCE_THRESHOLD, require_duration, require_threshold
from soundloom.errors import RequestError, shown


@dataclass(frozen=True)
class Finish:
    """How a clip is finished; the defaults change nothing.

    `trim_silence` removes what is below `threshold` dB relative to the peak, except for `margin` seconds on both sides.
    Fades are in seconds. `normalize` is a level such as "-16lufs"; `true_peak` in dBTP limits a loudness.
    """

    trim_silence: bool = False
    threshold: float = SILENCE_THRESHOLD
    margin: float = SILENCE_MARGIN
    fade_in: float = 0.0
    fade_out: float = 0.0
    normalize: str | None = None
    true_peak: float = TRUE_PEAK

    def __post_init__(self) -> None:
        require_threshold(self.threshold)
        for name in ("margin", "fade_in", "fade_out"):
            require_duration(name.replace("_", "-"), getattr(self, name))
        if self.normalize is not None:
            object.__setattr__(self, "normalize", str(Level.parse(self.normalize)))
        if not self.true_peak <= 0:
            raise RequestError(f"a true peak must be at most 0 dBTP, found {shown(self.true_peak)}")

    @property
    def reshapes(self) -> bool:
        """Whether it trims or fades, which loops cannot have."""
        return self.trim_silence or self.fade_in > 0 or self.fade_out > 0

    def shaped(self, clip: Clip) -> Clip:
        """Return the clip trimmed and faded, with all settings in its record; trimming leaves room for the fades.

        The level is set when the clip is saved, at the rate of the file. Raises RequestError.
        """
        if self.trim_silence:
            clip = clip.trimmed(self.threshold, self.margin, at_least=self.fade_in + self.fade_out)
        clip = clip.faded(self.fade_in, self.fade_out)
        return clip.with_record(with_finish(clip.record, self._level())) if self.normalize else clip

    def _level(self) -> dict[str, Any]:
        is_loudness = self.normalize is not None and Level.parse(self.normalize).unit == "lufs"
        return {"normalize": self.normalize, **({"true_peak": self.true_peak} if is_loudness else {})}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Finish:
        """Return the settings in the record of a clip. Raises RequestError if they are invalid."""
        found = record.get("finish", {})
        try:
            trim = found.get("trim_silence")
            settings = {
                name: found[name] for name in ("fade_in", "fade_out", "normalize", "true_peak") if name in found
            }
            if trim is not None:
                settings |= {"trim_silence": True, "threshold": trim["threshold"], "margin": trim["margin"]}
            return cls(**settings)
        except RequestError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"the record says in an unknown way how the clip was finished: {shown(found)}"
            ) from error
