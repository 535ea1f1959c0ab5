"""Warn about flags that have no effect in combination with the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soundloom.audio.formats.containers import container_of
from soundloom.cli.options.output import OutputOptions
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest

log = logging.getLogger(__name__)


def warn_of_unused_flags(options: OutputOptions, request: GenerationRequest | MusicRequest, path: Path) -> None:
    """Log each flag that has no effect on `request`, whose clip is saved as `path`."""
    given = vars(options)
    unused = (
        _unused_in_musicgen(given) if isinstance(request, MusicRequest) else _unused_in_stable_audio(given, request)
    )
    for flag, why in [*unused, *_unused_in_output(options, request, path)]:
        log.warning("%s has no effect %s", flag, why)


def _unused_in_stable_audio(given: dict[str, Any], request: GenerationRequest) -> Iterator[tuple[str, str]]:
    source, noise = request.source, given.get("noise")
    continues = source is not None and (bool(request.offset) or (request.seconds or 0.0) > source.seconds)
    if given.get("crossfade") is not None and not (request.regions or continues or request.loop):
        yield "--crossfade", "without regions, a loop or an extension"
    if noise is not None and source is None:
        yield "--noise", "without --init-audio"
    if noise == 1 and source is not None and not (request.regions or continues):
        yield "the source audio", "at --noise 1, except its length; lower values preserve more of it"
    if given.get("meter", "4/4") != "4/4" and not given.get("bars"):
        yield "--meter", "without --bars"
    if given.get("seam") is not None and not request.loop:
        yield "--seam", "without --loop"
    if not given.get("chunked_decode", True):
        yield "--no-chunked-decode", "because long audio is always decoded in chunks, with identical results"
    if given.get("no_half") and given.get("precision") == "fp32":
        yield "--no-half", "with --precision fp32, which means the same"


def _unused_in_musicgen(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if given["temperature"] == 0:
        for name in ("top_k", "top_p"):
            if given[name]:
                yield "--" + name.replace("_", "-"), "with --temperature 0, which always picks the most likely token"
    elif given["top_p"] and given["top_k"] is not None:
        yield "--top-k", "with --top-p, which replaces it"


def _unused_in_output(
    options: OutputOptions, request: GenerationRequest | MusicRequest, path: Path
) -> Iterator[tuple[str, str]]:
    source = request.source.source_format if request.source else None
    if options.peak == "clip" and container_of(path).subtype_for(options.sample_type, source) == "FLOAT":
        yield "--peak clip", "on float samples, which can exceed full scale"
