"""Listening tests: a page of blind trials to send to listeners, and figures from their answers.

A survey is a folder: `page/` is what listeners get (index.html and sounds), `survey.json` says which sound is of which
report and stays at home, `answers/` is for the JSON files that listeners send back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.atomic import atomic_file, make_folder, write_json
from soundloom.errors import ConfigError, RequestError, printable, shown
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.blind import survey_page
from soundloom.evaluation.reports.bradley_terry import strengths, win_matrix
from soundloom.evaluation.reports.compare import Source
from soundloom.evaluation.reports.record import Report, labels
from soundloom.evaluation.reports.trials import Kind, Trial, Version, make_trials
from soundloom.evaluation.statistics.intervals import Interval, percentiles, wilson
from soundloom.untrusted.json import decode_json
from soundloom.untrusted.limits import read_limited

SURVEY_FILE, PAGE_FOLDER, ANSWERS_FOLDER = "survey.json", "page", "answers"
SCHEMA = 1
MAX_BYTES = 2**24
RESAMPLES = 1000
MIN_CLUSTERS = 5  # listeners, from which these are resampled; with fewer, trials are

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """The trials of a survey, and the names of the reports."""

    id: str
    kind: Kind
    reports: tuple[str, ...]
    trials: tuple[Trial, ...]


def write_survey(sources: Sequence[Source], folder: Path, kind: Kind, limit: int, title: str) -> Survey:
    """Write a survey of reports to a folder. Raises RequestError where they have no sounds in common."""
    trials = make_trials(sources, folder / PAGE_FOLDER, kind, limit)
    if not trials:
        raise RequestError("the reports have no clips with sounds in common", "measure with --out, which keeps sounds")
    names = tuple(labels([source.report for source in sources]))
    facts = {"kind": kind, "reports": names, "trials": [asdict(trial) for trial in trials]}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    with atomic_file(folder / PAGE_FOLDER / "index.html") as file:
        file.write(survey_page(trials, kind, digest, title).encode())
    make_folder(folder / ANSWERS_FOLDER)
    write_json(folder / SURVEY_FILE, {"schema": SCHEMA, "id": digest, **facts})
    return Survey(digest, kind, names, tuple(trials))


def read_survey(folder: Path) -> Survey:
    """Read survey.json of a folder. Raises ConfigError."""
    if not (folder / SURVEY_FILE).is_file():
        raise ConfigError(
            f"{printable(folder)} is no survey: it has no {SURVEY_FILE}",
            "to make one, name two reports or more: soundloom eval survey BASE OTHER --out FOLDER",
        )
    data = _read(folder / SURVEY_FILE)
    try:
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {shown(data['schema'])}")
        trials = [
            Trial(one["id"], one["prompt"], tuple(Version(**version) for version in one["versions"]))
            for one in data["trials"]
        ]
        return Survey(data["id"], data["kind"], tuple(data["reports"]), tuple(trials))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{printable(folder / SURVEY_FILE)} is not a survey: {error}") from error


def survey_report(folder: Path) -> Report:
    """Return the figures of the answers in a survey's folder. Raises ConfigError, RequestError without answers."""
    survey = read_survey(folder)
    paths = sorted((folder / ANSWERS_FOLDER).glob("*.json"))
    if not paths:
        raise RequestError(
            f"there are no answers in {printable(folder / ANSWERS_FOLDER)}", "put the files of listeners there"
        )
    answers = [answer for path in paths for answer in _answers(path, survey)]
    if not answers:
        raise RequestError(f"none of the {len(paths)} files of answers has an answer", "listeners save at the end")
    metrics = (_choices if survey.kind == "pairwise" else _marks)(survey, answers)
    data = {"manifest": survey.id, "trials": len(survey.trials), "listeners": len(paths), "answers": len(answers)}
    subject = {"name": " and ".join(survey.reports), "reports": list(survey.reports)}
    return Report("survey", subject, data, tuple(metrics))


@dataclass(frozen=True)
class _Answer:
    """An answer to a trial: a choice from 0 (none) to 2, or marks in the order of its versions."""

    listener: int
    trial: Trial
    choice: int = 0
    marks: tuple[float, ...] = ()


def _answers(path: Path, survey: Survey) -> list[_Answer]:
    """Read the answers of a listener. Raises ConfigError for those of another survey."""
    data, name = _read(path), printable(path)
    if data.get("survey") != survey.id:
        raise ConfigError(f"{name} answers the survey {shown(data.get('survey'))}, not {survey.id}", "remove it")
    trials = {trial.id: trial for trial in survey.trials}
    listener = int(hashlib.sha256(path.name.encode("utf-8", "backslashreplace")).hexdigest()[:12], 16)
    try:
        return [_answer(one, trials, survey.kind, listener) for one in data["answers"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{name} has an invalid answer: {type(error).__name__} {shown(str(error))}") from error


def _answer(data: Mapping[str, Any], trials: Mapping[str, Trial], kind: Kind, listener: int) -> _Answer:
    trial = trials[data["trial"]]
    if kind == "pairwise":
        if data["choice"] not in (0, 1, 2):
            raise ValueError("a choice is 0, 1 or 2")
        return _Answer(listener, trial, int(data["choice"]))
    marks = tuple(float(mark) for mark in data["marks"])
    if len(marks) != len(trial.versions) or not all(0 <= mark <= 100 for mark in marks):
        raise ValueError("marks are 0 to 100, one for each sound")
    return _Answer(listener, trial, marks=marks)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = decode_json(read_limited(path, MAX_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read {printable(path)}: {shown(str(error))}", "name the folder of a survey"
        ) from error
    if not isinstance(data, dict):
        raise ConfigError(f"{printable(path)} must hold an object")
    return data


def _choices(survey: Survey, answers: Sequence[_Answer]) -> list[Metric]:
    """Return the share of wins, ties as half, and the strength of each report; the first report's strength is 0."""
    first, second = (np.array([a.trial.versions[side].report for a in answers], np.int64) for side in (0, 1))
    scores = np.array([{0: 0.5, 1: 1.0, 2: 0.0}[answer.choice] for answer in answers])
    count = len(survey.reports)
    drawn, (numbers, kind) = _resampled(answers), _clusters(answers)
    values = strengths(win_matrix(first, second, scores, count))
    resampled = np.array([strengths(win_matrix(first[i], second[i], scores[i], count)) for i in drawn])
    wins = win_matrix(first, second, scores, count)
    metrics = []
    for number, name in enumerate(survey.reports):
        games = int((wins[number] + wins[:, number]).sum())
        if games:
            share = float(wins[number].sum() / games)
            interval = wilson(share, len(np.unique(numbers)))  # answers of one listener are not independent
            metrics.append(_metric(f"survey/preferred/{name}", share, games, interval, f"Wilson over {kind}", "%"))
    for number, name in enumerate(survey.reports[1:], 1):
        relative = resampled[:, number] - resampled[:, 0]
        value = float(values[number] - values[0])
        method = f"Bradley-Terry log odds against {survey.reports[0]}, bootstrap over {kind}"
        metrics.append(_metric(f"survey/strength/{name}", value, len(answers), percentiles(relative), method))
    return metrics


def _marks(survey: Survey, answers: Sequence[_Answer]) -> list[Metric]:
    """Return the mean mark of each report, and its difference from the first report's."""
    table = np.full((len(answers), len(survey.reports)), np.nan)
    for row, answer in enumerate(answers):
        for version, mark in zip(answer.trial.versions, answer.marks, strict=True):
            table[row, version.report] = mark
    drawn, kind = _resampled(answers), _clusters(answers)[1]
    metrics = []
    means = np.array([table[i].mean(axis=0) for i in drawn])
    for number, name in enumerate(survey.reports):
        value = float(table[:, number].mean())
        edges = percentiles(means[:, number])
        metrics.append(_metric(f"survey/mark/{name}", value, len(answers), edges, f"bootstrap over {kind}"))
    for number, name in enumerate(survey.reports[1:], 1):
        edges = percentiles(means[:, number] - means[:, 0])
        value = float((table[:, number] - table[:, 0]).mean())
        method = f"against {survey.reports[0]}, bootstrap over {kind}"
        metrics.append(_metric(f"survey/mark_difference/{name}", value, len(answers), edges, method))
    return metrics


def _metric(name: str, value: float, count: int, interval: Interval, method: str, unit: str = "") -> Metric:
    return Metric(name, value, count, interval, unit=unit, direction="higher", method=method)


def _clusters(answers: Sequence[_Answer]) -> tuple[NDArray[np.int64], str]:
    """Return the number of the listener, or with few of them of the trial, of each answer."""
    listeners = np.array([answer.listener for answer in answers], np.int64)
    if len(np.unique(listeners)) >= MIN_CLUSTERS:
        return np.unique(listeners, return_inverse=True)[1], "listeners"
    trials = np.array([int(answer.trial.id) for answer in answers], np.int64)
    return np.unique(trials, return_inverse=True)[1], "trials"


def _resampled(answers: Sequence[_Answer]) -> list[NDArray[np.int64]]:
    """Draw listeners, or trials, with replacement; return the indices of their answers."""
    numbers, _ = _clusters(answers)
    members = [np.flatnonzero(numbers == number) for number in range(int(numbers.max()) + 1)]
    rng = np.random.Generator(np.random.Philox(key=0))
    draws = rng.integers(0, len(members), (RESAMPLES, len(members)))
    return [np.concatenate([members[i] for i in row]) for row in draws]
