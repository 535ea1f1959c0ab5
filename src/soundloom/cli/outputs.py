"""Name output files, check them before any work, and save clips."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from soundloom.atomic import make_folder, write_errors
from soundloom.audio.clip import Clip
from soundloom.audio.formats.containers import CONTAINERS, EQUIVALENT_SUBTYPES, container_of
from soundloom.audio.metadata import is_foreign_sidecar, sidecar_path
from soundloom.audio.shaping import fade_lengths
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.cli.options.output import OutputOptions
from soundloom.config.file_names import ClipFacts, Request, clip_name, fill_pattern, named_in, numbered
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, WriteError, shown
from soundloom.folders import expanded
from soundloom.pipeline.musicgen.plan import PlannedMusic
from soundloom.pipeline.stable_audio.plan import PlannedClip

log = logging.getLogger(__name__)

Planned = PlannedClip | PlannedMusic
BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}
LOSSLESS = (".wav", ".flac")


def output_paths(
    clips: Sequence[Planned],
    options: OutputOptions,
    model: str,
    files: Mapping[Clip, Path],
    with_residual: bool = False,
) -> list[Path]:
    """Name a file for each clip and check that it can be written; create missing folders.

    `model` is the name of the model, `files` are the paths of edited clips. Raises RequestError, WriteError or
    AudioError.
    """
    paths: list[Path] = []
    for clip, edits in groupby(clips, key=lambda planned: planned.request.source):
        source, group = files[clip] if clip else None, list(edits)
        requests = [planned.request for planned in group]
        facts = [ClipFacts.of(request) for request in requests]
        fill = partial(fill_pattern, clips=facts, model=model, first=len(paths), count=len(clips))
        named = _names(requests, options, fill, source)
        for path, planned in zip(named, group, strict=True):
            container = container_of(path)
            container.subtype_for(options.sample_type, clip.source_format if clip else None)
            rate = planned.rate if options.rate is None else options.rate
            container.check(rate, options.channels or planned.channels)
            for file in (path, residual_path(path)) if with_residual else (path,):
                _require_replaceable(file, options, source)
        paths += named
    residuals = [residual_path(path) for path in paths] if with_residual else []
    if len({*paths, *residuals}) < len([*paths, *residuals]):
        raise RequestError("several clips would be written to one file", "name a folder with -o, or edit them apart")
    for folder in dict.fromkeys(path.parent for path in paths):
        require_writable(folder)
    return paths


def _require_replaceable(path: Path, options: OutputOptions, source: Path | None) -> None:
    """Raise RequestError or WriteError if the path is taken and the flags do not allow replacing the file."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder", "name a file in it")
    if source is not None and path.exists() and path.samefile(source) and not options.overwrite:
        raise RequestError(f"{path} is the file to edit", "write elsewhere, or replace it with --overwrite")
    if options.overwrite is False and _is_taken(path, options):
        raise WriteError(f"{path} exists already", "choose another name, or leave out --no-overwrite")
    if options.sidecar and not options.overwrite and is_foreign_sidecar(path):
        raise RequestError(
            f"{sidecar_path(path)}, where --sidecar would write, is not a soundloom record",
            "choose another name, leave out --sidecar, or replace the file with --overwrite",
        )


def _names(
    requests: Sequence[Request], options: OutputOptions, fill: Callable[[str, str], list[str]], source: Path | None
) -> list[Path]:
    """Name files for edits of one source, or for new clips; `fill` fills in the pattern of a flag."""
    outs = fill("--out", options.out) if options.out else []
    count = len(requests)
    paths: list[Path] = []
    if options.name is not None:
        names = fill("--name", options.name)
        suffix = edit_name(source, requests[0]).suffix if source else ".wav"
        beside = source.parent if source else Path()
        folders = [_folder(out) for out in outs] or [beside] * count
        paths = [named_in(folder, name, suffix) for folder, name in zip(folders, names, strict=True)]
    elif outs and _names_a_file(options):
        paths = [expanded(out) for out in outs]
    if paths:
        if len(set(paths)) < count:  # no placeholder tells the clips apart
            return [numbered(path, i, count) for i, path in enumerate(paths)]
        return paths
    free: dict[Path, None] = {}
    for i, request in enumerate(requests):
        folder = expanded(outs[i]) if outs else source.parent if source else Path()
        wanted = numbered(edit_name(source, request), i, count) if source else clip_name(request)
        free[free_path(folder / wanted, options, free)] = None
    return list(free)


def _folder(out: str) -> Path:
    """Return the folder of --out beside --name. Raises RequestError if it is the name of an audio file."""
    folder = expanded(out)
    if folder.suffix.lower() in CONTAINERS and not folder.is_dir() and not out.endswith("/"):
        raise RequestError(f"-o {shown(out)} names a file, and so does --name", "give a folder with -o, or one of them")
    return folder


def _names_a_file(options: OutputOptions) -> bool:
    """Return whether the user named the file, not only its folder."""
    if options.name is not None:
        return True
    return bool(options.out) and not (expanded(options.out or "").is_dir() or str(options.out).endswith("/"))


def edit_name(source: Path, request: Request) -> Path:
    """Return NAME-edit or NAME-loop, in the source's format if that is lossless."""
    suffix = source.suffix if source.suffix.lower() in LOSSLESS else ".wav"
    is_loop = isinstance(request, GenerationRequest) and request.loop
    return Path(f"{source.stem}-{'loop' if is_loop else 'edit'}{suffix}")


def free_path(path: Path, options: OutputOptions, names: Collection[Path] = ()) -> Path:
    """Return this name, or one with a number that is not taken: only named files are replaced."""
    wanted, number = path, 1
    while path in names or (_is_taken(path, options) and not options.overwrite):
        number += 1
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
    return path


def _is_taken(path: Path, options: OutputOptions) -> bool:
    return path.exists() or (options.sidecar and sidecar_path(path).exists())


def require_writable(folder: Path) -> None:
    """Create a folder if it does not exist. Raises WriteError if files cannot be written to it."""
    make_folder(folder)
    with write_errors(folder), tempfile.TemporaryFile(dir=folder):
        return


def named_or_free(named: str | None, default: Path) -> Path:
    """Return the file that -o names, or the default name. Raises WriteError if the default is taken."""
    if named is None and default.exists():
        raise WriteError(f"{default} exists already", "replace it by naming it with -o, or name another file")
    return expanded(named) if named is not None else default


def warn_of_changes(planned: Planned, path: Path, options: OutputOptions) -> None:
    """Log why preserved samples will differ from the source, if flags or the format change them."""
    clip = planned.request.source
    if clip is None or planned.mode not in ("inpaint", "extend", "loop"):
        return
    reasons = []
    if options.rate not in (None, clip.sample_rate):
        reasons.append(f"they are resampled from {clip.sample_rate} to {options.rate} Hz")
    if options.channels == 1 and clip.channels > 1:
        reasons.append("--channels 1 mixes them to one")
    if getattr(options, "snap_tempo", None) is not None:
        reasons.append("--snap-tempo stretches them")
    finish = options.finish()
    if finish.normalize is not None:
        reasons.append(f"{'--normalize' if options.lufs is None else '--lufs'} turns them up or down")
    if finish.fade_in or finish.fade_out:
        reasons.append("fades change those at the ends")
    used = container_of(path).subtype_for(options.sample_type, clip.source_format)
    given = clip.source_format.subtype if clip.source_format else "FLOAT"
    if used not in BITS:
        reasons.append(f"{path.suffix} files are lossy")
    elif BITS[used] < BITS.get(EQUIVALENT_SUBTYPES.get(given, given), 0):
        reasons.append(f"they are rounded to {BITS[used]} bits")
    if reasons:
        log.warning("the preserved samples will not be bit-identical to the source: %s", "; ".join(reasons))


def save(clip: Clip, path: Path, options: OutputOptions, source: Clip | None = None) -> Path:
    """Save a clip, an edit of `source`, by the flags.

    Return its path, which gets a number if another process took an unnamed file.
    """
    is_named = _names_a_file(options)
    replaces = is_named if options.overwrite is None else options.overwrite
    while True:
        try:
            return _save(clip, path, options, replaces, source)
        except WriteError:
            if is_named or replaces or not _is_taken(path, options):
                raise
        path = free_path(path, options)


def _save(clip: Clip, path: Path, options: OutputOptions, overwrite: bool, source: Clip | None) -> Path:
    finish = options.finish()
    return clip.save(
        path,
        subtype=options.sample_type,
        rate=options.rate,
        peak=options.peak,
        normalize=finish.normalize,
        true_peak=finish.true_peak,
        disclosure=options.discloses,
        c2pa=options.signing(file_of(source)) or False,
        sidecar=options.sidecar,
        overwrite=overwrite,
    )


def file_of(source: Clip | None) -> Path | None:
    """Return the file that an edited clip was opened from, if there is one."""
    return source.path if isinstance(source, StreamedClip) else None


def residual_path(path: Path) -> Path:
    """Return NAME-residual beside the result of an edit."""
    return path.with_name(f"{path.stem}-residual{path.suffix}")


def save_residual(clip: Clip, path: Path, options: OutputOptions, source: Clip | None) -> Path:
    """Save a residual in the format of the flags, but neither trimmed, faded nor leveled; return its path."""
    plain = replace(options, normalize=None, lufs=None, true_peak=None)
    if options.channels is not None:
        clip = clip.mixed(options.channels)
    return save(clip, path if _names_a_file(options) else free_path(path, options), plain, source)


def shaped(clip: Clip, options: OutputOptions) -> Clip:
    """Return a clip with the channels, trimming and fades that the flags ask for."""
    if options.channels is not None:
        clip = clip.mixed(options.channels)
    return options.finish().shaped(clip)


def require_finish(clips: Sequence[Planned], options: OutputOptions) -> None:
    """Raise RequestError if a clip cannot be trimmed or faded as the flags ask."""
    finish = options.finish()
    if not finish.reshapes:
        return
    for planned in clips:
        if getattr(planned.request, "loop", False):
            raise RequestError(
                "a loop cannot be trimmed or faded: it would no longer repeat without a break",
                "leave out --trim-silence, --fade-in and --fade-out, or make a clip without --loop",
            )
        fade_lengths(finish.fade_in, finish.fade_out, round(planned.seconds * planned.rate), planned.rate)
