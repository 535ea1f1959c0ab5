"""Run all measurements of a model."""

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
from soundloom.evaluation.clips import generate_clips, wall_seconds
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.synthetic.adherence import ClipScores, adherence_metrics, score_clip
from soundloom.evaluation.synthetic.codec import codec_metrics, unrestricted_codec_metrics
from soundloom.evaluation.synthetic.editing import inpainting_metrics, seed_metrics, variation_metrics
from soundloom.evaluation.synthetic.lengths import extension_metrics, length_metrics, long_file_metrics
from soundloom.pipeline.stable_audio.model import Model

STEADY_FAMILIES = ("tone", "noise", "rain", "siren", "chord", "pad", "drum loop", "single drum loop")
LASTING_FAMILIES = (*STEADY_FAMILIES, "bass", "engine", "wind", "sea", "fire")  # can be extended
ALL_SOUNDS = SoundsConfig(clips=1, reverb=False)  # only the families matter
CODEC_SEED, INPAINTING_SEED, EXTENSION_SEED = 1, 2, 3
SEARCH = 20  # candidates for each steady source
WALL_SECONDS, WALL_GOAL = 5.0, 3.0


@dataclass(frozen=True)
class EvaluationConfig:
    """How much to measure, and with which sounds."""

    sounds: SoundsConfig = ALL_SOUNDS
    prompts: int = 260
    seeds: int = 2
    steps: int | None = 8
    seconds: float = 4.0
    edits: int = 40  # inpainted clips; also clips for the autoencoder, and a third of it for seeds

    @property
    def families(self) -> tuple[str, ...]:
        return self.sounds.families or FAMILIES

    def with_sounds(self, path: Path) -> EvaluationConfig:
        """Replace the sounds by those of a TOML file. Raises ConfigError."""
        return replace(self, sounds=read_toml(SoundsConfig, path))

    def for_model(self, model: Model) -> EvaluationConfig:
        """Replace the sounds by those that the model was trained on, if its folder states them."""
        path = model.checkpoint.path / SOUNDS_FILE
        return self.with_sounds(path) if path.is_file() else self

    def sample_prompts(self, count: int, seed: int = 0, families: Sequence[str] = ()) -> tuple[HeldOutPrompt, ...]:
        """Sample held-out prompts of these sounds, or of some of their families."""
        sounds = self.sounds
        families = families or self.families
        return family_prompts(families, count, seed, self.seconds, sounds.reverb, sounds.plain, sounds.latent_period)

    def reference_prompts(self) -> tuple[HeldOutPrompt, ...]:
        """Sample the prompts whose reference sounds are edited and encoded."""
        return self.sample_prompts(self.edits, CODEC_SEED)


@dataclass(frozen=True)
class EvaluationReport:
    """Metrics, and the scores of each clip."""

    metrics: list[Metric]
    clips: list[ClipScores]

    def record(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {
            "metrics": [metric.record() for metric in self.metrics],
            "clips": [clip.record() for clip in self.clips],
        }


def evaluate(
    model: Model,
    source: str,
    config: EvaluationConfig,
    log: Callable[[str], None] = lambda line: None,
    flags: Sequence[str] = (),
) -> EvaluationReport:
    """Measure a model; `log` is called with the name of each part.

    `source` is its name or folder. `flags` select engine, device and precision of the processes that measure wall time.
    """
    steps, seconds = config.steps, config.seconds
    prompts, references = config.sample_prompts(config.prompts), config.reference_prompts()
    log(f"{len(prompts)} prompts, {config.seeds} seeds each")
    clips = score_prompts(model, prompts, config)
    metrics = adherence_metrics(clips)
    log("seeds and edits")
    metrics += seed_metrics(model, prompts[: max(1, config.edits // 3)], seconds, steps)
    metrics += variation_metrics(model, references, seconds, steps)
    families = [family for family in config.families if family in STEADY_FAMILIES]
    steady = config.sample_prompts(SEARCH * config.edits, INPAINTING_SEED, families) if families else ()
    metrics += inpainting_metrics(model, steady, config.edits, seconds, steps)
    log("lengths from 0.3 s, extensions and edits in long files")
    metrics += length_metrics(model, prompts[: config.edits], steps)
    families = [family for family in config.families if family in LASTING_FAMILIES]
    lasting = config.sample_prompts(config.edits, EXTENSION_SEED, families) if families else ()
    metrics += extension_metrics(model, lasting, steps)
    metrics += long_file_metrics(model, steady, max(1, config.edits // 3), steps)
    log("autoencoder")
    metrics += codec_metrics(model, references, seconds)
    if config.sounds.plain or config.sounds.latent_period:
        unrestricted = replace(config, sounds=replace(config.sounds, plain=False, latent_period=0))
        metrics += unrestricted_codec_metrics(model, unrestricted.reference_prompts(), seconds)
    log("wall time")
    try:
        metrics.append(_wall_metric(source, min(WALL_SECONDS, model.config.max_seconds), steps, flags))
    except CalledProcessError:
        log("wall time was not measured: a separate process could not generate a clip with this model")
    return EvaluationReport(metrics, clips)


def _wall_metric(source: str, seconds: float, steps: int | None, flags: Sequence[str]) -> Metric:
    times = sorted(wall_seconds(source, seconds, steps, flags))
    name = f"wall time of {seconds:.3g} s of sound, load included"
    return Metric(name, times[len(times) // 2], len(times), (times[0], times[-1]), WALL_GOAL, "at most", "s")


def score_prompts(model: Model, prompts: Sequence[HeldOutPrompt], config: EvaluationConfig) -> list[ClipScores]:
    """Generate each prompt with each seed, and score the clips."""
    seeded = [(prompt, seed) for prompt in prompts for seed in range(1, config.seeds + 1)]
    clips = generate_clips(
        model,
        [
            GenerationRequest(prompt.text, seconds=config.seconds, seed=seed, steps=config.steps)
            for prompt, seed in seeded
        ],
    )
    return [
        score_clip(prompt, clip.audio if clip else None, model.sample_rate)
        for (prompt, _), clip in zip(seeded, clips, strict=True)
    ]
