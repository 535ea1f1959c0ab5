"""`soundloom inpaint`: regenerate regions of an audio file."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.editing import edit
from soundloom.cli.options.editing import EditOptions, RegionOptions
from soundloom.cli.options.generation import GenerationOptions
from soundloom.cli.options.shared import noise_flag
from soundloom.errors import RequestError


@dataclass(frozen=True)
class Options(EditOptions, RegionOptions, GenerationOptions):
    """Regenerate regions of an audio file in one pass. All samples outside the regions stay unchanged.

    soundloom inpaint kick.wav "snare drum loop, 129 BPM" --region 1.0,1.5
    """

    noise: float = noise_flag(default=1.0, help="below 1, vary the regions instead of replacing them")


def run(options: Options) -> None:
    regions = tuple(options.regions())
    if not regions:
        raise RequestError("no region was given", "use --region 1.0,1.5 or --bars 3-5 --bpm 120")
    edit(options, options, lambda clip: {"noise": options.noise, "regions": regions})
