"""A report as one HTML file that opens from disk: no request goes elsewhere, plots are SVG, players the browser's."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from soundloom.errors import SoundloomError
from soundloom.evaluation.reports.plots import curve_svg, differences_svg
from soundloom.evaluation.reports.record import ClipRecord, Report, subject_name
from soundloom.evaluation.reports.sections import (
    Section,
    figure,
    recipe_sections,
    reproduce_section,
    result_sections,
    run_section,
    subject_sections,
    worst_first,
)
from soundloom.evaluation.reports.thumbnails import thumbnail
from soundloom.evaluation.reports.verdict import verdict_line

MAX_CLIPS = 60  # worst ones; report.json has all
MAX_EMBEDDED, MAX_EMBEDDED_TOTAL = 2**20, 24 * 2**20  # bytes of audio files
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src * data:"
WIDE = ("method", "recipe, embedder", "published")  # columns whose text is not broken
GOOD = ("passed", "reached", "better", "same")  # words of a verdict
WORDS = ("passed", "failed", "better", "worse", "undecided")
MEDIA_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}


def page(
    report: Report,
    folder: Path,
    reproduce: Mapping[str, Any],
    *,
    embed: bool = False,
    extra: str = "",
    script: str = "",
) -> str:
    """Return a report as HTML; the paths of clips are relative to `folder`, where their files are.

    `embed` puts small audio files into the page. `extra` is HTML that stands before the clips, `script` its script.
    """
    facts = "".join(map(_section, subject_sections(report)))
    parts = [f'<div class="pair">{facts}</div>']
    for part in result_sections(report):
        parts.append(_section(part))
        if part.title == "Comparison" and (picture := differences_svg(report.comparison)):
            parts.append(_scrolling("Plot of the differences", f'<div class="differences">{picture}</div>'))
    parts += [_curves(report), extra, _clips(report, folder, embed), _notes(report)]
    parts += map(_section, (*recipe_sections(report), reproduce_section(reproduce)))
    title = f"eval {report.kind}: {subject_name(report)}"
    verdict = verdict_line(report)
    bad = any(word in verdict for word in ("failed", "worse", "missed"))
    state = "bad" if bad else "good" if any(word in verdict for word in GOOD) else "neutral"
    return document(
        title,
        f'<header><h1>{escape(title)}</h1><p class="verdict {state}">{escape(verdict)}</p>{_run(report)}</header>'
        f"<main>{''.join(parts)}</main>"
        "<footer>Made by soundloom. report.json beside this page has everything that it shows.</footer>",
        script,
    )


def document(title: str, body: str, script: str = "") -> str:
    """Return a complete page with the style of reports."""
    style = files(__package__ or "").joinpath("report.css").read_text("utf-8")
    code = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style}</style></head>\n'
        f"<body>{body}{code}</body></html>\n"
    )


def _run(report: Report) -> str:
    """Return date and cost in one line of the file, the only one that differs between two equal runs."""
    facts = " · ".join(f"{escape(name)} {escape(value)}" for name, value in run_section(report).rows)
    return f'\n<p class="run">{facts}</p>\n'


def _section(section: Section) -> str:
    table = _table(section) if section.rows else ""
    text = "".join(f"<p>{escape(line)}</p>" for line in section.text)
    return f"<section><h2>{escape(section.title)}</h2>{table}{text}</section>\n"


def _table(section: Section) -> str:
    is_facts = not any(section.columns)
    head = ""
    if not is_facts:
        cells = "".join(f'<th scope="col"{_align(section, i)}>{escape(c)}</th>' for i, c in enumerate(section.columns))
        head = f"<thead><tr>{cells}</tr></thead>"
    body = "".join(f"<tr>{_row(section, row)}</tr>" for row in section.rows)
    table = f"<table{' class=facts' if is_facts else ''}>{head}<tbody>{body}</tbody></table>"
    return _scrolling(section.title, table)


def _scrolling(name: str, content: str) -> str:
    """Return wide content that scrolls, also by keys."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{content}</div>'


def _row(section: Section, row: tuple[str, ...]) -> str:
    first = f'<th scope="row">{escape(row[0]).replace("/", "/<wbr>")}</th>'
    rest = (f"<td{_align(section, i)}>{_word(cell)}</td>" for i, cell in enumerate(row[1:], 1))
    return first + "".join(rest)


def _align(section: Section, column: int) -> str:
    if column in section.numeric:
        return ' class="n"'
    return ' class="w"' if section.columns[column] in WIDE else ""


def _word(cell: str) -> str:
    """Color verdicts, which stay words."""
    last = cell.rpartition(" ")[2]
    if cell in WORDS or last in ("reached", "missed"):
        return f'{escape(cell.removesuffix(last))}<span class="{last}">{last}</span>'
    return escape(cell)


def _curves(report: Report) -> str:
    pictures = [(curve.name, curve_svg(curve)) for curve in report.curves]
    found = "".join(f"<figure><figcaption>{escape(n)}</figcaption>{svg}</figure>" for n, svg in pictures if svg)
    return f'<section><h2>Curves</h2><div class="plots">{found}</div></section>\n' if found else ""


def _clips(report: Report, folder: Path, embed: bool) -> str:
    if not report.clips:
        return ""
    units = {metric.name: metric.unit for metric in report.metrics}
    room, items = MAX_EMBEDDED_TOTAL, []
    for clip in worst_first(report)[:MAX_CLIPS]:
        source, size = audio_source(folder, clip.audio, room if embed else 0) if clip.audio else ("", 0)
        room -= size
        items.append(_clip(clip, folder, source, units))
    more = len(report.clips) - len(items)
    rest = f'<p class="soft">The other {more} clips are in report.json.</p>' if more else ""
    return f'<section><h2>Clips, worst first</h2><ul class="clips">{"".join(items)}</ul>{rest}</section>\n'


def _clip(clip: ClipRecord, folder: Path, source: str, units: Mapping[str, str]) -> str:
    seed = "" if clip.seed is None else f' <span class="soft">seed {clip.seed}</span>'
    failed = f'<p class="failed">{escape(", ".join(clip.failures))}</p>' if clip.failures else ""
    prompt = f'<p class="prompt">{escape(clip.prompt)}</p>' if clip.prompt else ""
    figures = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(figure(value, units.get(name, '')))}</dd>"
        for name, value in clip.figures.items()
    )
    return (
        f"<li><h3>{escape(clip.id)}{seed}</h3>{prompt}{failed}{_sound(clip, folder, source)}"
        f"{f'<dl>{figures}</dl>' if figures else ''}</li>"
    )


def _sound(clip: ClipRecord, folder: Path, source: str) -> str:
    if not clip.audio:
        return ""
    try:
        data = base64.b64encode(thumbnail(folder / clip.audio)).decode()
    except (SoundloomError, OSError, RuntimeError) as error:
        said = bool(clip.failures)  # a clip that failed has its reason above
        return "" if said else f'<p class="failed">{escape(str(error.args[0]))}</p>'
    name = escape(clip.id)
    return (
        f'<img src="data:image/png;base64,{data}" alt="spectrogram of {name}">'
        f'<audio controls preload="none" src="{source}" aria-label="play {name}"></audio>'
    )


def audio_source(folder: Path, audio: str, room: int) -> tuple[str, int]:
    """Return the address of an audio file, and how many bytes of it are embedded in that address."""
    path = folder / audio
    kind = MEDIA_TYPES.get(path.suffix.lower())
    try:
        size = path.stat().st_size
        if kind and size <= min(room, MAX_EMBEDDED):
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}", size
    except OSError:
        pass
    return quote(Path(audio).as_posix()), 0


def _notes(report: Report) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return f"<section><h2>Notes</h2><ul>{notes}</ul></section>\n" if notes else ""
