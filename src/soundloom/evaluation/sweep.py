"""Measure a model at several settings with the same prompts and seeds: quality against seconds per clip."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import write_json
from soundloom.audio.mel import log_mel_difference
from soundloom.config.stable_audio.adapters import AdapterStack
from soundloom.config.stable_audio.request import GenerationRequest, Guidance
from soundloom.errors import AudioError, OutputError, RequestError
from soundloom.evaluation.metrics import Metric, aligned, cells_of, mean_metric
from soundloom.evaluation.reports.compare import Source, compare
from soundloom.evaluation.reports.embeddings import StoredEmbeddings, write_embeddings
from soundloom.evaluation.reports.record import Curve, Report
from soundloom.evaluation.reports.write import write_report
from soundloom.evaluation.sets.generation import GeneratedSet, Log, generate_set
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.prompts import PromptList
from soundloom.pipeline.stable_audio.model import Model

CLIPS, COST_FILE = "clips", "cost.json"
MAX_SETTINGS = 64
DIFFERENCE = "sweep/difference_from_first"
WARM_UP_SEED = 0

Measure = Callable[[GeneratedSet, Model], tuple[Report, dict[str, StoredEmbeddings]]]


@dataclass(frozen=True)
class Setting:
    """Values of one point of the grid; None is the model's default."""

    precision: str = "auto"
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    strength: float | None = None  # of the adapters

    def request_options(self, adapters: Sequence[str]) -> dict[str, Any]:
        """Return the fields of requests that differ from the model's defaults; `adapters` are those of the model."""
        guidance = None if self.cfg is None else Guidance(self.cfg)
        loras = None if self.strength is None else AdapterStack.of(dict.fromkeys(adapters, self.strength))
        given = {"steps": self.steps, "sampler": self.sampler, "guidance": guidance, "loras": loras}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Grid:
    """The values of each option; settings are their combinations, the first one is the base of comparisons."""

    precision: tuple[str, ...] = ("auto",)
    steps: tuple[int | None, ...] = (None,)
    cfg: tuple[float | None, ...] = (None,)
    sampler: tuple[str | None, ...] = (None,)
    strength: tuple[float | None, ...] = (None,)

    def settings(self) -> list[tuple[str, Setting]]:
        """Return the settings by name, such as "steps=4 cfg=2". Raises RequestError for one or too many."""
        values = vars(self)
        found = [Setting(**dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]
        if not 1 < len(found) <= MAX_SETTINGS:
            raise RequestError(
                f"a sweep needs 2 to {MAX_SETTINGS} settings, found {len(found)}",
                "give several values of an option, such as --steps 4,8,16",
            )
        varied = [name for name, options in values.items() if len(options) > 1]
        return [(" ".join(f"{name}={_text(getattr(one, name))}" for name in varied), one) for one in found]


def _text(value: Any) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


@dataclass(frozen=True)
class Sweep:
    """What is swept: a grid of settings, the prompts, and which model a setting needs."""

    grid: Grid
    prompts: PromptList
    seconds: float
    load: Callable[[str], Model]  # by precision
    measure: Measure
    quality: str  # the figure of the plot
    adapters: tuple[str, ...] = ()  # names of the model's adapters
    prefix: str = ""
    log: Callable[[str], Log] = field(default=lambda name: lambda done, total: None)


def run_sweep(sweep: Sweep, folder: Path) -> Report:
    """Measure all settings into subfolders of `folder`, and compare each with the first.

    Clips and times of an earlier, interrupted run in the folder are kept. Raises RequestError for a bad grid.
    """
    sources: list[tuple[str, Source]] = []
    first: Sequence[SoundItem] = ()
    loaded: tuple[str, Model] | None = None
    for name, setting in sweep.grid.settings():
        if loaded is None or loaded[0] != setting.precision:
            loaded = (setting.precision, sweep.load(setting.precision))
        made = _generated(sweep, name, setting, loaded[1], folder / name.replace(" ", ","))
        first = first or made.sounds
        sources.append((name, _measured(sweep, name, setting, loaded[1], made, first, folder / name.replace(" ", ","))))
    differences = compare(sources[0][1], [source for _, source in sources[1:]])
    base = sources[0][1].report
    return Report(
        "sweep",
        {**_common(sources), "name": f"{base.subject.get('model', 'model')} at {len(sources)} settings"},
        {**base.data, "settings": [name for name, _ in sources], "quality": sweep.quality},
        tuple(metric for name, source in sources for metric in _named(source.report, name)),
        base.recipes,
        curves=_trade_off(sources, sweep.quality),
        cost={"seconds": sum(source.report.cost.get("seconds", 0.0) for _, source in sources)},
        comparison=tuple(one for one in differences.comparison if one.p is not None),
        notes=differences.notes,
    )


def _common(sources: Sequence[tuple[str, Source]]) -> dict[str, Any]:
    """Return what is true of the model at all settings."""
    first, *others = (source.report.subject for _, source in sources)
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _generated(sweep: Sweep, name: str, setting: Setting, model: Model, folder: Path) -> GeneratedSet:
    options = setting.request_options(sweep.adapters)
    prompt = sweep.prompts.prompts[0]
    # Networks are loaded before the clock starts.
    request = GenerationRequest(prompt.text, seconds=prompt.seconds or sweep.seconds, seed=WARM_UP_SEED, **options)
    with suppress(OutputError):
        model.run([request])
    return generate_set(model, sweep.prompts, folder / CLIPS, sweep.seconds, options, sweep.prefix, sweep.log(name))


def _measured(
    sweep: Sweep,
    name: str,
    setting: Setting,
    model: Model,
    made: GeneratedSet,
    first: Sequence[SoundItem],
    folder: Path,
) -> Source:
    cost = _cost(folder, made)
    report, embeddings = sweep.measure(made, model)
    report = replace(
        report,
        subject={**report.subject, "name": name, **{k: v for k, v in vars(setting).items() if v is not None}},
        metrics=(*report.metrics, *_difference_metric(made.sounds, first), *_speed(cost)),
        cost=cost,
    )
    report = write_report(report, folder, {(item.id, item.seed): item.path for item in made.sounds})
    if embeddings:
        write_embeddings(folder, embeddings)
    return Source(report, folder, embeddings)


def _cost(folder: Path, made: GeneratedSet) -> Mapping[str, float]:
    """Return what the clips cost; that of an earlier run where all of them were kept.

    It is written before the clips are measured, so that an interrupted run keeps it.
    """
    path = folder / COST_FILE
    if not made.made:
        return _stored_cost(path)
    share = made.made / (len(made.sounds) + len(made.failures))
    seconds_of_sound = sum(item.seconds or 0.0 for item in made.sounds)
    cost = {
        "seconds": made.seconds,
        "seconds_per_clip": made.seconds / made.made,
        "real_time_factor": made.seconds / max(share * seconds_of_sound, 1e-9),
    }
    write_json(path, cost)
    return cost


def _stored_cost(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # the table leaves the time empty
    return {name: float(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _speed(cost: Mapping[str, float]) -> list[Metric]:
    if "seconds_per_clip" not in cost:
        return []
    return [Metric("sweep/seconds_per_clip", cost["seconds_per_clip"], 1, unit="s", direction="lower")]


def _named(report: Report, name: str) -> list[Metric]:
    return [replace(metric, name=f"{metric.name} [{name}]") for metric in report.metrics]


def _trade_off(sources: Sequence[tuple[str, Source]], quality: str) -> tuple[Curve, ...]:
    """Quality over seconds per clip, sorted by time; the settings are its labels."""
    points = []
    for name, source in sources:
        found = next((metric for metric in source.report.metrics if metric.name == quality), None)
        seconds = source.report.cost.get("seconds_per_clip", math.nan)
        if found and math.isfinite(seconds):
            points.append((seconds, found.value, found.interval or (found.value, found.value), name))
    points.sort()
    if not points:
        return ()
    x, y, intervals, labels = zip(*points, strict=True)
    return (Curve(f"{quality} by seconds per clip", "seconds per clip", quality, x, y, intervals, labels),)


def _difference_metric(clips: Sequence[SoundItem], base: Sequence[SoundItem]) -> list[Metric]:
    """Return the mean log-mel difference in dB of clips and those of the first setting with equal ids."""
    others = {item.id: item for item in base}
    found = []
    for item in clips:
        if item.id not in others:
            continue
        try:
            (audio, rate), (real, _) = item.read(), others[item.id].read()
        except AudioError:
            continue
        found.append(log_mel_difference(audio, real, rate))
    values = [value for value in found if np.isfinite(value)]
    return [mean_metric(DIFFERENCE, values, "dB")] if values else []


def sweep_table(report: Report) -> list[str]:
    """Return one line per setting: its quality, time, and the verdict against the first setting."""
    quality, names = report.data["quality"], report.data["settings"]
    metrics = {metric.name: metric for metric in report.metrics}
    verdicts = {one.subject or names[-1]: one for one in report.comparison if one.figure == quality}
    rows = [("setting", quality, "95 % interval", "log-mel from the first", "seconds per clip", "against the first")]
    for name in names:
        found, cost = metrics.get(f"{quality} [{name}]"), metrics.get(f"sweep/seconds_per_clip [{name}]")
        away, verdict = metrics.get(f"{DIFFERENCE} [{name}]"), verdicts.get(name)
        cells = cells_of(found) if found else ("", "")
        rows.append(
            (
                name,
                *cells,
                f"{away.value:.2f} dB" if away else "",
                f"{cost.value:.3f}" if cost else "",
                f"{verdict.verdict}, p {verdict.p_adjusted:.3f}" if verdict and verdict.p_adjusted is not None else "",
            )
        )
    return aligned(rows)
