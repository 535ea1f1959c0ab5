"""Options of lengths in bars, and of loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from soundloom.cli.options.editing import RegionOptions
from soundloom.cli.options.flags import Span, ends, switch
from soundloom.cli.options.shared import bars_flag, bpm_flag, meter_flag, seam_flag
from soundloom.config.stable_audio.rhythm import DEFAULT_METER
from soundloom.errors import RequestError, shown


@dataclass(frozen=True)
class RhythmOptions(RegionOptions):
    """Regions and lengths."""

    bars: Sequence[str] = bars_flag(
        default=(),
        action="append",
        metavar="N",
        help="length in bars, such as 4; with --init-audio also a region, end excluded: 3-5 is bars 3 and 4, 3.2 is "
        "beat 2 of bar 3; repeatable",
    )
    bpm: float | None = bpm_flag(help="tempo in beats per minute (default: the one that the prompt names)")
    meter: str = meter_flag(default=DEFAULT_METER, help="time signature, for --bars")

    def regions(self) -> list[Span]:
        """Return all regions, in seconds; a length in bars is none."""
        ranges = [text for text in self.bars if ends(text) is not None]
        fields: dict[str, Any] = {"bars": ranges, "bpm": self.bpm if ranges else None}
        return RegionOptions.regions(replace(self, **fields))

    def bar_count(self) -> float | None:
        """Return the length in bars, if one is given."""
        counts = [text for text in self.bars if ends(text) is None]
        if len(counts) > 1:
            raise RequestError(f"--bars gives {len(counts)} lengths: {shown(', '.join(counts))}", "give one")
        try:
            return float(counts[0]) if counts else None
        except ValueError:
            raise RequestError(
                f"--bars {shown(counts[0])} is neither a number of bars nor a range of them", "--bars 4, or --bars 3-5"
            ) from None


@dataclass(frozen=True)
class LoopOptions:
    """Loops."""

    loop: bool = switch("--loop", help="make a clip that repeats without a break")
    seam: float | None = seam_flag()
    no_passes: bool = switch(
        "--no-passes", help="reject clips beyond the model's limit, which else take several passes"
    )
