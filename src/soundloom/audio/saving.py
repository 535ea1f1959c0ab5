"""Save clips: their level, their format, their tags, the manifest and the sidecar."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from soundloom.atomic import locked_folder
from soundloom.audio.levels import Level, level_gain
from soundloom.audio.metadata import write_sidecar
from soundloom.audio.records import with_warnings
from soundloom.audio.write import Peak, write_audio
from soundloom.errors import RequestError

if TYPE_CHECKING:
    from soundloom.audio.c2pa.sign import C2paOptions
    from soundloom.audio.sound import Sound

log = logging.getLogger(__name__)


class SaveOptions(TypedDict, total=False):
    """Options of `Clip.save` and `Clip.to_bytes`, described in `Clip.save`."""

    subtype: str | None
    rate: int | None
    peak: Peak
    loudness: float | None
    normalize: str | None
    true_peak: float
    disclosure: bool
    c2pa: bool | C2paOptions


def save_sound(
    sound: Sound, path: Path, name: str, options: SaveOptions, *, sidecar: bool = False, overwrite: bool = True
) -> None:
    """Write a file as `Clip.save` describes, with all options given; warnings show `name`."""
    notes: list[str] = []
    signing = _signing(options["c2pa"])
    rate = options["rate"] or sound.sample_rate
    stream = sound.stream(rate)
    level = _level(options["loudness"], options["normalize"])
    if level is not None:
        gain, limits = level_gain(stream, rate, level, options["true_peak"])
        stream, notes = stream.amplified(10 ** (gain / 20)), [*notes, *limits]
    with locked_folder(path.parent) if sidecar else nullcontext():  # audio and sidecar always match
        notes += write_audio(
            path,
            stream,
            rate,
            subtype=options["subtype"],
            source=sound.source_format,
            peak=options["peak"],
            record=with_warnings(sound.record, notes),
            disclosure=options["disclosure"],
            c2pa=signing,
            name=sound.name,
            overwrite=overwrite,
        )
        if sidecar:
            write_sidecar(path, with_warnings(sound.record, notes), overwrite=overwrite)
    for note in notes:
        log.warning("%s: %s", name, note)


def _signing(c2pa: bool | C2paOptions) -> C2paOptions | None:
    """Return how to sign a file, or None. Raises RequestError, before any audio is written."""
    if not c2pa:
        return None
    from soundloom.audio.c2pa.sign import as_options

    return as_options(c2pa)


def _level(loudness: float | None, normalize: str | None) -> Level | None:
    """Return the level that `loudness` or `normalize` asks for. Raises RequestError."""
    if loudness is not None and normalize is not None:
        raise RequestError("loudness and normalize both set the level", f'normalize="{loudness:g}lufs" alone')
    if loudness is not None:
        return Level(loudness, "lufs")
    return Level.parse(normalize) if normalize is not None else None
