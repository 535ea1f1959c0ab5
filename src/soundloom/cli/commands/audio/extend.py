"""`soundloom extend`: continue an audio file, or prepend to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.cli.editing import edit
from soundloom.cli.options.editing import EditOptions
from soundloom.cli.options.flags import switch
from soundloom.cli.options.generation import GenerationOptions
from soundloom.cli.options.shared import require_length, seconds_flag
from soundloom.pipeline.stable_audio.plan import require_addition


@dataclass(frozen=True)
class Options(EditOptions, GenerationOptions):
    """Continue an audio file, or prepend to it. All samples of the source stay unchanged.

    soundloom extend kick.wav --seconds 12
    """

    seconds: float = seconds_flag(
        required=True, help="length to add; `generate --init-audio` takes the total length instead"
    )
    before: bool = switch("--before", help="add to the start instead of the end")


def run(options: Options) -> None:
    require_length(options.seconds)
    edit(options, options, lambda clip: _addition(clip, options))


def _addition(clip: Clip, options: Options) -> dict[str, Any]:
    require_addition(clip, options.seconds)
    return {"offset": options.seconds} if options.before else {"seconds": clip.seconds + options.seconds}
