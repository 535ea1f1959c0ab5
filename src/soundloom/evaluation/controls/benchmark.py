"""The benchmark of controls: generate the fixed list of prompts, and count how often each control is obeyed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError
from soundloom.evaluation.clips import BATCH, generate_clips
from soundloom.evaluation.controls.ceiling import rendered
from soundloom.evaluation.controls.prompts import (
    CONTROLS,
    TAGGED,
    VERSION,
    ControlPrompt,
    list_hash,
    prompts_of,
    require_control,
    spread,
)
from soundloom.evaluation.controls.rows import ControlRow, ScoredClip, control_metrics, control_rows
from soundloom.evaluation.controls.score import Outcome, Tagger, failed, score_clip
from soundloom.evaluation.embedders.base import Classifier
from soundloom.evaluation.frontend import UNUSABLE, batches, faults, prepare
from soundloom.evaluation.recipes import DEFAULT_RECIPE, find_recipe
from soundloom.evaluation.reports.record import Report
from soundloom.evaluation.sets.manifest import hash_rows
from soundloom.evaluation.subjects import model_facts
from soundloom.pipeline.stable_audio.model import Model

Log = Callable[[int, int], None]
Keep = Callable[["ControlCase", Clip], None]

LOOP_BARS = 2
BEATS_PER_BAR = 4
UNKNOWN_WORDS = "unknown words"


@dataclass(frozen=True)
class ControlConfig:
    """What to generate: at most `prompts` of each control (None: all), with `seeds`, each of `seconds`.

    Without `all_prompts`, a model that lists its words, such as `mini`, gets only prompts that it knows.
    Raises RequestError for values out of range and unknown controls.
    """

    controls: tuple[str, ...] = CONTROLS
    prompts: int | None = None
    seeds: int = 1
    seconds: float = 10.0
    steps: int | None = None
    all_prompts: bool = False

    def __post_init__(self) -> None:
        for name in self.controls:
            require_control(name)
        counts = {"prompts": self.prompts, "seeds": self.seeds, "steps": self.steps}
        if low := [name for name, count in counts.items() if count is not None and count < 1]:
            raise RequestError(f"{' and '.join(low)} must be 1 or more")
        if not 0 < self.seconds < np.inf:
            raise RequestError(f"seconds must be a number above 0, found {self.seconds:g}")


@dataclass(frozen=True)
class ControlCase:
    """A prompt, a seed and the length of the clip; `is_known` is false for words that the model does not know."""

    prompt: ControlPrompt
    seed: int
    seconds: float
    is_known: bool

    def request(self, steps: int | None) -> GenerationRequest:
        is_loop = self.prompt.control == "loop"
        return GenerationRequest(self.prompt.text, seconds=self.seconds, seed=self.seed, steps=steps, loop=is_loop)


@dataclass(frozen=True)
class Benchmark:
    """The report, and its table."""

    report: Report
    rows: tuple[ControlRow, ...]


def evaluate_controls(
    model: Model,
    config: ControlConfig,
    classifier: Classifier | None = None,
    log: Log = lambda done, total: None,
    keep: Keep = lambda case, clip: None,
    command: str = "",
) -> Benchmark:
    """Generate the prompts and score the clips. `log` gets clips done and in all, `keep` each clip.

    Clips that cannot be made, are silent or not finite, and prompts with unknown words obey nothing, and count as
    failures. `classifier` hears instruments and voices; without one, these are left out.
    """
    started = time.perf_counter()
    cases, notes = plan_cases(model, config, classifier.info.labels if classifier else None)
    tagger = _tagger(classifier) if classifier else None
    clips: list[ScoredClip] = []
    for start in range(0, len(cases), BATCH):
        clips += _scored(model, cases[start : start + BATCH], config.steps, tagger, keep)
        log(len(clips), len(cases))
    references = _references(cases)
    seconds = time.perf_counter() - started
    report = Report(
        kind="control",
        subject={**model_facts(model), "steps": config.steps},
        data=_data(cases, config),
        metrics=control_metrics(clips, references),
        clips=tuple(clip.record() for clip in clips),
        cost={"seconds": seconds, "seconds_per_clip": seconds / len(cases)},
        command=command,
        notes=tuple(notes),
    )
    return Benchmark(report, tuple(control_rows(clips, references)))


def plan_cases(
    model: Model, config: ControlConfig, labels: Sequence[str] | None
) -> tuple[list[ControlCase], list[str]]:
    """Return what to generate, and notes about what is left out; `labels` are those of the classifier.

    Raises RequestError if nothing remains.
    """
    longest, vocabulary = model.config.max_seconds, model.caption_vocabulary

    def is_known(prompt: ControlPrompt) -> bool:
        return vocabulary is None or (not vocabulary.unknown(prompt.text) and vocabulary.names_sound(prompt.text))

    notes, cases = [], []
    for control in dict.fromkeys(config.controls):
        if control in TAGGED and labels is None:
            notes.append(f"{control}: not measured without a classifier")
            continue
        everything = prompts_of(control, longest)
        prompts = tuple(one for one in everything if control != "instrument" or _has(labels, one.asked))
        if len(prompts) < len(everything):
            left_out = len(everything) - len(prompts)
            notes.append(f"{control}: {left_out} of {len(everything)} prompts ask for tags that the classifier lacks")
        asked = prompts if config.all_prompts else tuple(filter(is_known, prompts))
        if len(asked) < len(prompts):
            left_out = len(prompts) - len(asked)
            notes.append(f"{control}: {left_out} of {len(prompts)} prompts have words that {model.name} does not know")
        cases += [
            ControlCase(one, seed, _seconds(one, config.seconds, longest), is_known(one))
            for one in spread(asked, config.prompts)
            for seed in range(1, config.seeds + 1)
        ]
    if not cases:
        raise RequestError(f"nothing to measure: {'; '.join(notes)}", "name other controls, or use --all-prompts")
    return cases, notes


def _has(labels: Sequence[str] | None, tag: str) -> bool:
    return tag.casefold() in (label.casefold() for label in labels or ())


def _seconds(prompt: ControlPrompt, default: float, longest: float) -> float:
    """Return the length of a clip; loops have one or two bars."""
    if prompt.control != "loop":
        return prompt.seconds(default, longest)
    bar = BEATS_PER_BAR * 60 / float(prompt.asked)
    return bar * (LOOP_BARS if LOOP_BARS * bar <= longest else 1)


def _scored(
    model: Model, cases: Sequence[ControlCase], steps: int | None, tagger: Tagger | None, keep: Keep
) -> list[ScoredClip]:
    """Generate and score one batch."""
    known = [case for case in cases if case.is_known]
    clips = iter(generate_clips(model, [case.request(steps) for case in known]) if known else ())
    found = []
    for case in cases:
        clip = next(clips) if case.is_known else None
        if clip is not None:
            keep(case, clip)
        found.append(_score(case, clip, tagger))
    return found


def _references(cases: Sequence[ControlCase]) -> list[Outcome]:
    """Score rendered sounds that are what the prompts ask for."""
    outcomes: list[Outcome] = []
    for case in {case.prompt.id: case for case in cases}.values():
        if clip := rendered(case.prompt, case.seconds):
            outcomes += score_clip(case.prompt, clip, case.seconds)
    return outcomes


def _score(case: ControlCase, clip: Clip | None, tagger: Tagger | None) -> ScoredClip:
    if clip is None:
        reason = "not usable" if case.is_known else UNKNOWN_WORDS
        return ScoredClip(case.prompt, case.seed, tuple(failed(case.prompt.control)), (reason,), True)
    found = faults(clip.audio, clip.sample_rate)
    if UNUSABLE.intersection(found):
        return ScoredClip(case.prompt, case.seed, tuple(failed(case.prompt.control)), found, True)
    outcomes = score_clip(case.prompt, clip, case.seconds, tagger)
    return ScoredClip(case.prompt, case.seed, tuple(outcomes), found)


def _tagger(classifier: Classifier) -> Tagger:
    recipe = find_recipe(DEFAULT_RECIPE, classifier.info.name)

    def logits(clip: Clip) -> Any:
        windows = prepare(clip.audio, clip.sample_rate, classifier.info, recipe)
        return np.concatenate([classifier.classify(batch) for batch in batches(windows, classifier.info.batch)])

    return Tagger(classifier.info.labels, logits)


def _data(cases: Sequence[ControlCase], config: ControlConfig) -> dict[str, Any]:
    return {
        "name": "control prompts",
        "version": VERSION,
        "list": list_hash(),
        "manifest": _manifest(cases),
        "controls": list(dict.fromkeys(case.prompt.control for case in cases)),
        "prompts": len({case.prompt.id for case in cases}),
        "seeds": config.seeds,
        "seconds": config.seconds,
    }


def _manifest(cases: Sequence[ControlCase]) -> str:
    """Return the hash of what is generated: prompts, seeds and lengths."""
    return hash_rows([(case.prompt.id, case.prompt.text, case.seed, case.seconds) for case in cases])
