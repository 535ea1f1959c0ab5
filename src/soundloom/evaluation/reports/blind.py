"""The HTML of blind trials: in a report, and as the page of a survey."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from urllib.parse import quote

from soundloom.evaluation.reports.page import document
from soundloom.evaluation.reports.trials import Kind, Trial, Version

CHOICES = ((1, "1 is better"), (2, "2 is better"), (0, "No difference"))


def trials_script() -> str:
    """Return the script that trials need."""
    return files(__package__ or "").joinpath("trials.js").read_text("utf-8")


def trials_section(trials: Sequence[Trial], names: Sequence[str]) -> str:
    """Return pairwise trials for a report; a choice tells which sound is of which report. "" without trials."""
    if not trials:
        return ""
    parts = [_trial(trial, "pairwise", [names[version.report] for version in trial.versions]) for trial in trials]
    return (
        "<section><h2>Blind test</h2><p>Both sounds of a trial are equally loud, in random order. "
        f'Your choice shows which is which.</p>{"".join(parts)}<p class="tally" role="status"></p></section>\n'
    )


def survey_page(trials: Sequence[Trial], kind: Kind, survey: str, title: str) -> str:
    """Return the page of a survey, which knows nothing of the reports' names."""
    parts = "".join(_trial(trial, kind) for trial in trials)
    task = {
        "pairwise": "In each trial, listen to both sounds, and choose the better one for its description.",
        "marks": "In each trial, listen to all sounds, and move the slider of each: 0 is bad, 100 excellent.",
    }[kind]
    body = (
        f'<header><h1>{escape(title)}</h1></header><main data-survey="{escape(survey)}">'
        f"<p>{task} Wear headphones in a quiet place. When you have finished, save your answers, and send the file "
        f'back.</p>{parts}<div class="trial"><div class="row"><label for="listener">Your name or initials '
        '(optional)</label><input id="listener" maxlength="60" autocomplete="off"></div><div class="row">'
        '<button type="button" id="save" disabled>Save answers</button>'
        '<span class="tally" role="status"></span></div></div></main>'
    )
    return document(title, body, trials_script())


def _trial(trial: Trial, kind: Kind, names: Sequence[str] = ()) -> str:
    number = int(trial.id)
    key = ""
    if names:  # not to be read by chance in the source of the page
        key = f' data-key="{base64.b64encode(json.dumps(list(names)).encode()).decode()}"'
    sounds = "".join(_sound(version, index, number, kind) for index, version in enumerate(trial.versions, 1))
    buttons = "".join(
        f'<button type="button" data-choice="{choice}" aria-pressed="false">{text}</button>' for choice, text in CHOICES
    )
    row = f'<div class="row" role="group" aria-label="your choice in trial {number}">{buttons}</div>'
    return (
        f'<fieldset class="trial" data-trial="{trial.id}"{key}><legend>Trial {number}</legend>'
        f'<p class="prompt">{escape(trial.prompt)}</p>{sounds}{row if kind == "pairwise" else ""}'
        '<p class="answer" role="status"></p></fieldset>'
    )


def _sound(version: Version, index: int, number: int, kind: Kind) -> str:
    name = f"sound {index} of trial {number}"
    mark = ""
    if kind == "marks":
        mark = f'<input type="range" min="0" max="100" value="50" aria-label="mark of {name}"><output>50</output>'
    return (
        f'<div class="row sound"><b>{index}</b><audio controls preload="none" data-gain="{version.gain:g}" '
        f'src="{quote(version.file)}" aria-label="{name}"></audio>{mark}</div>'
    )
