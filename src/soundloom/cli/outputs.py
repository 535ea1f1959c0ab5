"""Where clips are written: names, checks before any work, and saving."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from soundloom.atomic import make_folder, write_errors
from soundloom.audio.clip import Clip
from soundloom.audio.formats.containers import KEPT_AS, container_of
from soundloom.audio.loudness import TRUE_PEAK
from soundloom.audio.metadata import is_foreign_sidecar, sidecar_path
from soundloom.cli.options.file_names import Request, clip_name, fill_pattern, numbered
from soundloom.cli.options.groups import OutputOptions
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, WriteError
from soundloom.folders import expanded

log = logging.getLogger(__name__)

BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}
LOSSLESS = (".wav", ".flac")


def output_paths(
    requests: Sequence[Request], options: OutputOptions, rate: int, model: str, source: Path | None = None
) -> list[Path]:
    """Name a file for each request and make sure that it can be written; missing folders are made.

    `rate` is that of the model, `model` its name, `source` the file that an edit reads. Raises RequestError or
    AudioError.
    """
    if options.true_peak is not None and options.lufs is None:
        raise RequestError("--true-peak is the limit of --lufs, which is not given", "give --lufs -14, or leave it out")
    paths = _names(requests, options, model, source)
    for path, request in zip(paths, requests, strict=True):
        clip = request.source
        container = container_of(path)
        container.subtype_for(options.sample_type, clip.source_format if clip else None)
        own_rate = clip.sample_rate if clip else rate
        channels = options.channels or _most_channels(request)
        container.check(own_rate if options.rate is None else options.rate, channels)
        _refuse_replacing(path, options, source)
    for folder in dict.fromkeys(path.parent for path in paths):
        _require_writable(folder)
    return paths


def _most_channels(request: Request) -> int:
    """How many channels the result may have: MusicGen edits keep all of theirs, other edits one or two."""
    if request.source is None:
        return 2
    return request.source.channels if isinstance(request, MusicRequest) else min(request.source.channels, 2)


def _refuse_replacing(path: Path, options: OutputOptions, source: Path | None) -> None:
    """Raise RequestError where something lies in the way that nobody said to replace."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder", "name a file in it")
    if source is not None and path.exists() and path.samefile(source) and not options.overwrite:
        raise RequestError(f"{path} is the sound to edit", "write elsewhere, or replace it with --overwrite")
    if options.overwrite is False and _is_taken(path, options):
        raise RequestError(f"{path} exists already", "choose another name, or leave out --no-overwrite")
    if options.sidecar and not options.overwrite and is_foreign_sidecar(path):
        raise RequestError(
            f"{sidecar_path(path)}, where --sidecar would write, is not a record of soundloom's",
            "choose another name, leave out --sidecar, or replace the file with --overwrite",
        )


def _names(requests: Sequence[Request], options: OutputOptions, model: str, source: Path | None) -> list[Path]:
    outs = fill_pattern(options.out, requests, model) if options.out else []
    count = len(requests)
    if outs and _names_a_file(options):
        paths = [expanded(out) for out in outs]
        if len(set(paths)) < count:  # no placeholder tells the clips apart
            return [numbered(path, i, count) for i, path in enumerate(paths)]
        return paths
    names: dict[Path, None] = {}
    for i, request in enumerate(requests):
        folder = expanded(outs[i]) if outs else source.parent if source else Path()
        wanted = numbered(edit_name(source), i, count) if source else clip_name(request)
        names[_free(folder / wanted, options, names)] = None
    return list(names)


def _names_a_file(options: OutputOptions) -> bool:
    """Whether the user chose the files' names, and not at most their folder."""
    return bool(options.out) and not (expanded(options.out or "").is_dir() or str(options.out).endswith("/"))


def edit_name(source: Path) -> Path:
    """NAME-edit, in the source's own format where that keeps every sample."""
    suffix = source.suffix if source.suffix.lower() in LOSSLESS else ".wav"
    return Path(f"{source.stem}-edit{suffix}")


def _free(path: Path, options: OutputOptions, names: Collection[Path]) -> Path:
    """A name like this one that nothing has yet: what nobody named is never replaced unasked."""
    wanted, number = path, 1
    while path in names or (_is_taken(path, options) and not options.overwrite):
        number += 1
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
    return path


def _is_taken(path: Path, options: OutputOptions) -> bool:
    return path.exists() or (options.sidecar and sidecar_path(path).exists())


def _require_writable(folder: Path) -> None:
    make_folder(folder)
    with write_errors(folder), tempfile.TemporaryFile(dir=folder):
        return


def named_or_free(named: str | None, default: Path) -> Path:
    """The file that -o names, which may be replaced, or the default name, which raises WriteError if it is taken."""
    if named is None and default.exists():
        raise WriteError(f"{default} exists already", "replace it by naming it with -o, or name another file")
    return expanded(named) if named is not None else default


def warn_of_changes(request: GenerationRequest, path: Path, options: OutputOptions) -> None:
    """Say why kept samples will not be the source's own, where flags or the format have that effect."""
    clip = request.source
    if clip is None or not (request.regions or request.offset or (request.seconds or 0) > clip.seconds):
        return
    reasons = []
    if options.rate not in (None, clip.sample_rate):
        reasons.append(f"they are resampled from {clip.sample_rate} to {options.rate} Hz")
    if options.channels == 1 and clip.channels > 1:
        reasons.append("--channels 1 mixes them to one")
    if options.lufs is not None:
        reasons.append("--lufs turns them up or down")
    used = container_of(path).subtype_for(options.sample_type, clip.source_format)
    given = clip.source_format.subtype if clip.source_format else "FLOAT"
    if used not in BITS:
        reasons.append(f"{path.suffix} files keep sounds only approximately")
    elif BITS[used] < BITS.get(KEPT_AS.get(given, given), 0):
        reasons.append(f"they are rounded to {BITS[used]} bits")
    if reasons:
        log.warning("the kept samples will not be bit-identical to the source: %s", "; ".join(reasons))


def save(clip: Clip, path: Path, options: OutputOptions) -> Path:
    """Write a clip as the flags say. Return its path: another one where a name that nobody gave was taken meanwhile."""
    is_given = _names_a_file(options)
    replaces = is_given if options.overwrite is None else options.overwrite
    while True:
        try:
            return _save(clip, path, options, replaces)
        except WriteError:
            if is_given or replaces or not _is_taken(path, options):
                raise
        path = _free(path, options, ())


def _save(clip: Clip, path: Path, options: OutputOptions, overwrite: bool) -> Path:
    if options.channels is not None:
        clip = clip.mixed(options.channels)
    return clip.save(
        path,
        subtype=options.sample_type,
        rate=options.rate,
        peak=options.peak,
        loudness=options.lufs,
        true_peak=TRUE_PEAK if options.true_peak is None else options.true_peak,
        sidecar=options.sidecar,
        overwrite=overwrite,
    )
