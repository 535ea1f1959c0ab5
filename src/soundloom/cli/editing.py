"""What vary, inpaint and extend have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.streaming import StreamedClip
from soundloom.cli.building import build_requests
from soundloom.cli.groups import EditOptions
from soundloom.cli.opening import generator_config
from soundloom.cli.work import MakingOptions, carry_out
from soundloom.config.requests import GenerationRequest


def edit(options: EditOptions, making: MakingOptions, fields: Callable[[Clip], dict[str, Any]]) -> None:
    """Edit the sound that `options` names; `fields` gives what the request says beside prompt and crossfade."""
    config = generator_config(making)
    clip = StreamedClip.open(options.input)
    crossfade: dict[str, Any] = {} if options.crossfade is None else {"crossfade": options.crossfade}
    base = GenerationRequest(options.text, source=clip, **crossfade, **fields(clip))
    carry_out(build_requests(base, making, config), making, config, Path(options.input))
