"""All measurements of one model, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.config.toml import read_toml
from soundloom.datasets.synthetic import FAMILIES, HeldOutPrompt, family_prompts
from soundloom.datasets.synthetic.config import SOUNDS_FILE, SoundsConfig
from soundloom.evaluation.adherence import ClipScores, adherence_metrics, score_clip
from soundloom.evaluation.clips import generate_clips, wall_seconds
from soundloom.evaluation.codec import codec_metrics, unrestricted_codec_metrics
from soundloom.evaluation.editing import inpainting_metrics, seed_metrics, variation_metrics
from soundloom.evaluation.lengths import extension_metrics, length_metrics, long_file_metrics
from soundloom.evaluation.report import Metric
from soundloom.pipeline.stable_audio.model import Model

STEADY_FAMILIES = ("tone", "noise", "rain", "siren", "chord", "pad", "drum loop", "single drum loop")
LASTING_FAMILIES = (*STEADY_FAMILIES, "bass", "engine", "wind", "sea", "fire")  # what goes on for longer than a clip
EVERY_SOUND = SoundsConfig(clips=1, reverb=False)  # of which the families count
CODEC_SEED, INPAINTING_SEED, EXTENSION_SEED = 1, 2, 3
SEARCH = 20  # sources looked at for each steady one
WALL_SECONDS, WALL_GOAL = 5.0, 3.0


@dataclass(frozen=True)
class EvaluationConfig:
    """How much is measured, and with which sounds."""

    sounds: SoundsConfig = EVERY_SOUND
    prompts: int = 260
    seeds: int = 2
    steps: int | None = 8
    seconds: float = 4.0
    edits: int = 40  # inpainted clips; a third of them for seeds, and as many again for the autoencoder

    @property
    def families(self) -> tuple[str, ...]:
        return self.sounds.families or FAMILIES

    def with_sounds(self, path: Path) -> EvaluationConfig:
        """The same with the sounds that a recipe's file names. Raises ConfigError."""
        return replace(self, sounds=read_toml(SoundsConfig, path))

    def for_model(self, model: Model) -> EvaluationConfig:
        """The same with the sounds that the model was taught, where its folder says so."""
        path = model.checkpoint.path / SOUNDS_FILE
        return self.with_sounds(path) if path.is_file() else self

    def sample_prompts(self, count: int, seed: int = 0, families: Sequence[str] = ()) -> tuple[HeldOutPrompt, ...]:
        """Prompts of these sounds, or of some of their families."""
        return family_prompts(
            families or self.families,
            count,
            seed,
            self.seconds,
            self.sounds.reverb,
            self.sounds.plain,
            self.sounds.tuned_to,
        )


@dataclass(frozen=True)
class EvaluationReport:
    """Figures, and what was found in each clip."""

    metrics: list[Metric]
    clips: list[ClipScores]

    def record(self) -> dict[str, Any]:
        """Everything as values that JSON can hold."""
        return {
            "figures": [metric.record() for metric in self.metrics],
            "clips": [clip.record() for clip in self.clips],
        }


def evaluate(
    model: Model,
    source: str,
    scope: EvaluationConfig,
    say: Callable[[str], None] = lambda line: None,
    flags: Sequence[str] = (),
) -> EvaluationReport:
    """Measure a model; `say` hears what is being done.

    `source` is its name or folder, and `flags` tell its engine, device and precision, for a process of its own.
    """
    prompts, held = scope.sample_prompts(scope.prompts), reference_prompts(scope)
    say(f"{len(prompts)} prompts, {scope.seeds} seeds each")
    verdicts = score_prompts(model, prompts, scope)
    found = adherence_metrics(verdicts)
    say("seeds and edits")
    found += seed_metrics(model, prompts[: max(1, scope.edits // 3)], scope.seconds, scope.steps)
    found += variation_metrics(model, held, scope.seconds, scope.steps)
    steady = [family for family in scope.families if family in STEADY_FAMILIES]
    steady_ones = scope.sample_prompts(SEARCH * scope.edits, INPAINTING_SEED, steady) if steady else ()
    found += inpainting_metrics(model, steady_ones, scope.edits, scope.seconds, scope.steps)
    say("lengths from 0.3 s, extensions and edits in long files")
    several = prompts[: scope.edits]
    found += length_metrics(model, several, scope.steps)
    lasting = [family for family in scope.families if family in LASTING_FAMILIES]
    found += extension_metrics(
        model, scope.sample_prompts(scope.edits, EXTENSION_SEED, lasting) if lasting else (), scope.steps
    )
    found += long_file_metrics(model, steady_ones, max(1, scope.edits // 3), scope.steps)
    say("autoencoder")
    found += codec_metrics(model, held, scope.seconds)
    if scope.sounds.plain or scope.sounds.tuned_to:
        found += unrestricted_codec_metrics(
            model, reference_prompts(replace(scope, sounds=_untouched(scope.sounds))), scope.seconds
        )
    say("wall time")
    try:
        found.append(_wall_row(source, min(WALL_SECONDS, model.config.max_seconds), scope.steps, flags))
    except CalledProcessError:
        say("wall time was not measured: a process of its own could not make a clip with this model")
    return EvaluationReport(found, verdicts)


def _wall_row(source: str, seconds: float, steps: int | None, flags: Sequence[str]) -> Metric:
    times = sorted(wall_seconds(source, seconds, steps, flags))
    name = f"wall time of {seconds:.3g} s of sound, load included"
    return Metric(name, times[len(times) // 2], len(times), (times[0], times[-1]), WALL_GOAL, "at most", "s")


def reference_prompts(scope: EvaluationConfig) -> tuple[HeldOutPrompt, ...]:
    """Prompts whose real sounds are edited and encoded."""
    return scope.sample_prompts(scope.edits, CODEC_SEED)


def _untouched(sounds: SoundsConfig) -> SoundsConfig:
    """The same families as the whole world has them."""
    return replace(sounds, plain=False, tuned_to=0)


def score_prompts(model: Model, prompts: Sequence[HeldOutPrompt], scope: EvaluationConfig) -> list[ClipScores]:
    """Make each prompt with each seed and score_clip what comes out."""
    asked = [(prompt, seed) for prompt in prompts for seed in range(1, scope.seeds + 1)]
    requests = [
        GenerationRequest(prompt.text, seconds=scope.seconds, seed=seed, steps=scope.steps) for prompt, seed in asked
    ]
    clips = generate_clips(model, requests)
    return [
        score_clip(prompt, clip.audio if clip else None, model.sample_rate)
        for (prompt, _), clip in zip(asked, clips, strict=True)
    ]
