"""`soundloom vary`: generate a variation of an audio file, or of regions of it."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.commands.audio.generate import VARIATION_NOISE
from soundloom.cli.editing import edit
from soundloom.cli.options.editing import EditOptions, RegionOptions
from soundloom.cli.options.generation import GenerationOptions
from soundloom.cli.options.shared import noise_flag


@dataclass(frozen=True)
class Options(EditOptions, RegionOptions, GenerationOptions):
    """Generate a variation of an audio file; with regions, vary only those.

    soundloom vary kick.wav "hip hop drum loop, 129 BPM" --noise 0.6
    """

    noise: float = noise_flag(default=VARIATION_NOISE, help="strength of the variation, 0.01 to 1")


def run(options: Options) -> None:
    edit(options, options, lambda clip: {"noise": options.noise, "regions": tuple(options.regions())})
