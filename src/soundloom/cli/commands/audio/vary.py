"""`soundloom vary`: a variation of a sound, whole or in regions."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.commands.audio.generate import VARIATION_NOISE
from soundloom.cli.editing import edit
from soundloom.cli.options.flags import flag
from soundloom.cli.options.groups import EditOptions, RegionOptions
from soundloom.cli.work import MakingOptions


@dataclass(frozen=True)
class Options(EditOptions, RegionOptions, MakingOptions):
    """Make a variation of a sound; with regions, only those change."""

    noise: float = flag(
        *("--noise", "--init-noise-level"),
        default=VARIATION_NOISE,
        type=float,
        metavar="LEVEL",
        help=f"how far to go from it, 0.01 to 1 (default: {VARIATION_NOISE})",
    )


def run(options: Options) -> None:
    edit(options, options, lambda clip: {"noise": options.noise, "regions": tuple(options.regions())})
