"""Plan and execute `vary`, `inpaint` and `extend`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.commands.audio.trim import trimmed
from soundloom.cli.execute import execute
from soundloom.cli.loading import known_generator
from soundloom.cli.options.editing import EditOptions
from soundloom.cli.options.generation import GenerationOptions
from soundloom.cli.options.requests import build_requests
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.pipeline.provenance import recorded_model, recorded_settings
from soundloom.pipeline.stable_audio.plan import default_seconds, plan


def edit(edited: EditOptions, options: GenerationOptions, fields: Callable[[Clip], dict[str, Any]]) -> None:
    """Edit the file that the flags name; `fields` returns the fields of the request that the command sets."""
    text, file = edited.text, Path(edited.input)
    clip: Clip = StreamedClip.open(file)
    if options.model is None:
        options = replace(options, model=recorded_model(clip))
    name, config = known_generator(options)
    if edited.trim is not None:
        clip = trimmed(clip, *edited.trim)
    settings = recorded_settings(clip, options.model_name) if text is None else {"prompt": text}
    crossfade: dict[str, Any] = {} if edited.crossfade is None else {"crossfade": edited.crossfade}
    base = GenerationRequest(source=clip, **settings, **crossfade, **fields(clip))
    requests = build_requests(base, options, config, name)
    execute(plan(requests, config, default_seconds(name)), options, {clip: file})
