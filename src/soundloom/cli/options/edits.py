"""Options of `soundloom eval edits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soundloom.cli.options.evaluation import EmbedderOptions, ReportOptions
from soundloom.cli.options.flags import Extend, flag, numbers, switch
from soundloom.cli.options.model import ModelOptions
from soundloom.cli.options.shared import (
    precision_flag,
    precisions_flag,
    seconds_flag,
    seeds_flag,
    sounds_flag,
    steps_flag,
    window_flag,
)

SOURCES, MUSIC_SOURCES = 20, 4
SECONDS, MUSIC_SECONDS = 12.0, 5.0
SEEDS, MUSIC_SEEDS = 2, 8
PARTS = ("regions", "loops", "variations")


@dataclass(frozen=True)
class EditsOptions(ModelOptions, EmbedderOptions, ReportOptions):
    """Edits."""

    sounds: str | None = sounds_flag(help="a folder, a CSV or JSONL table, or a set.json")
    sources: int | None = flag(
        "--sources", type=int, metavar="N", help=f"sounds to edit (default: {SOURCES}; {MUSIC_SOURCES} by instruction)"
    )
    seconds: float | None = seconds_flag(
        help=f"of each sound (default: {SECONDS:g}, or the model's longest; {MUSIC_SECONDS:g} by instruction)"
    )
    seeds: int | None = seeds_flag(
        default=None, help=f"edits of each kind (default: {SEEDS}; {MUSIC_SEEDS} by instruction)"
    )
    steps: int | None = steps_flag(help="sampling steps (default: the model's)")
    precision: str = precision_flag(default="auto", help="precision of the transformer (default: auto)")
    precisions: Sequence[str] = precisions_flag(default=(), help="precisions to compare, also int4 for MusicGen")
    parts: str | None = flag("--parts", metavar="NAMES", help="of regions, loops, variations (default: all)")
    gaps: Sequence[float] = flag(
        "--gaps",
        default=(),
        action=Extend,
        type=numbers(float),
        metavar="S",
        help="lengths of regions (default: 0.5,1,2)",
    )
    levels: Sequence[float] = flag(
        "--levels",
        default=(),
        action=Extend,
        type=numbers(float),
        metavar="LEVEL",
        help="noise levels of variations (default: 0.1,0.3,0.5,0.7,0.9)",
    )
    instructions: Sequence[str] = flag(
        "--instruction",
        default=(),
        action="append",
        metavar="TEXT",
        help="for MusicGen; repeatable (default: Only drums, Only piano, Remove drums, Only bass)",
    )
    window: float | None = window_flag(help="seconds per pass of MusicGen (default: 5)")

    no_fp32: bool = switch(
        "--no-fp32", help="for MusicGen: compare precisions only with the first, not with FP32, which takes most memory"
    )

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names in --parts."""
        return tuple(name.strip() for name in self.parts.split(",")) if self.parts else PARTS
