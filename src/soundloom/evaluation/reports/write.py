"""Write a report as JSON, Markdown and HTML, and read it back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import atomic_file, atomic_path, make_folder
from soundloom.audio.write import write_audio
from soundloom.errors import AudioError, ConfigError, printable, shown
from soundloom.evaluation.reports.encode import document, parse_document
from soundloom.evaluation.reports.machine import peak_memory
from soundloom.evaluation.reports.markdown import markdown
from soundloom.evaluation.reports.page import page
from soundloom.evaluation.reports.record import ClipRecord, Report
from soundloom.untrusted.limits import read_limited

REPORT_FILE, MARKDOWN_FILE, PAGE_FILE = "report.json", "report.md", "report.html"
CLIPS_FOLDER = "clips"
MAX_REPORT_BYTES = 2**28

ClipKey = tuple[str, int | None]
Sound = Path | tuple[np.ndarray, int]


def write_report(
    report: Report,
    folder: str | Path,
    clips_audio: Mapping[ClipKey, Sound] | None = None,
    *,
    embed: bool = False,
    extra: str = "",
    script: str = "",
) -> Report:
    """Write report.json, report.md and report.html to a folder; return the report with date and paths of clips.

    `clips_audio` has the sound of clips by (id, seed): a path, which is copied to `clips/` unless it is in the folder,
    or audio float32 (c, n) and its rate. `embed` puts small audio files into the page. `extra` and `script` are those
    of `page`. Each file appears whole, report.json last. Raises WriteError.
    """
    folder = Path(folder)
    make_folder(folder)
    if clips_audio:
        report = replace(report, clips=_with_audio(report.clips, folder, clips_audio))
    report = replace(dated(report), cost={**peak_memory(), **report.cost})
    data = document(report)
    html = page(report, folder, data["reproduce"], embed=embed, extra=extra, script=script)
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = ((MARKDOWN_FILE, markdown(report, data["reproduce"])), (PAGE_FILE, html), (REPORT_FILE, text))
    for name, content in files:
        with atomic_file(folder / name) as file:
            file.write(content.encode("utf-8", "backslashreplace"))
    return report


def dated(report: Report) -> Report:
    """Return the report with today's date, unless it has one."""
    return report if report.date else replace(report, date=datetime.now(UTC).isoformat(timespec="seconds"))


def read_report(path: str | Path) -> Report:
    """Read a report: the path of report.json, or of its folder. Raises ConfigError."""
    path = report_path(path)
    name = printable(path)
    try:
        data: Any = json.loads(read_limited(path, MAX_REPORT_BYTES))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no report {name}", "give the folder that --out named") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read {name} as JSON: {shown(str(error))}") from error
    return parse_document(data, name)


def report_path(path: str | Path) -> Path:
    """Return the path of report.json, given it or its folder."""
    path = Path(path)
    return path / REPORT_FILE if path.is_dir() or path.suffix != ".json" else path


def _with_audio(clips: tuple[ClipRecord, ...], folder: Path, sounds: Mapping[ClipKey, Sound]) -> tuple[ClipRecord, ...]:
    """Put the sounds of clips beside the report, under numbers: ids may be no valid names of files."""
    found = []
    for index, clip in enumerate(clips):
        sound = sounds.get((clip.id, clip.seed))
        if sound is None:
            found.append(clip)
            continue
        try:
            found.append(replace(clip, audio=_place(sound, folder, index)))
        except AudioError as error:  # such as a clip without samples
            found.append(replace(clip, failures=clip.failures or (str(error.args[0]),)))
    return tuple(found)


def _place(sound: Sound, folder: Path, index: int) -> str:
    """Copy or write a sound to the folder; return its path relative to it."""
    if isinstance(sound, Path) and sound.resolve().is_relative_to(folder.resolve()):
        return sound.resolve().relative_to(folder.resolve()).as_posix()
    make_folder(folder / CLIPS_FOLDER)
    name = f"{CLIPS_FOLDER}/{index:05d}{sound.suffix.lower() if isinstance(sound, Path) else '.flac'}"
    if isinstance(sound, Path):
        with atomic_path(folder / name) as new:
            try:
                shutil.copyfile(sound, new)
            except OSError as error:
                raise AudioError(f"{printable(sound)} cannot be read: {error.strerror}") from error
    else:
        audio, rate = sound
        write_audio(folder / name, np.atleast_2d(np.asarray(audio, np.float32)), rate)
    return name
