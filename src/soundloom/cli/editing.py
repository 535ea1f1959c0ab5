"""What vary, inpaint and extend have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.commands.audio.trim import trimmed
from soundloom.cli.opening import generator_config
from soundloom.cli.options.groups import EditOptions
from soundloom.cli.options.requests import build_requests
from soundloom.cli.work import MakingOptions, carry_out
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.pipeline.lineage import recorded_model, remembered


def edit(options: EditOptions, making: MakingOptions, fields: Callable[[Clip], dict[str, Any]]) -> None:
    """Edit the sound that `options` names; `fields` gives what the request says beside prompt and crossfade."""
    text = options.text
    clip: Clip = StreamedClip.open(options.input)
    if making.model is None:
        making = replace(making, model=recorded_model(clip))
    config = generator_config(making)
    if options.trim is not None:
        clip = trimmed(clip, *options.trim)
    taken = remembered(clip, making.model_name) if text is None else {"prompt": text}
    crossfade: dict[str, Any] = {} if options.crossfade is None else {"crossfade": options.crossfade}
    base = GenerationRequest(source=clip, **taken, **crossfade, **fields(clip))
    carry_out(build_requests(base, making, config), making, config, Path(options.input))
