"""A model into fewer bits: choose them, write the bundle, measure what it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from soundloom.checkpoints.formats.packed import require_unpacked
from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE, require_group_size
from soundloom.checkpoints.stable_audio.convert import require_empty
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.checkpoints.stable_audio.save import save_bundle
from soundloom.config.catalogue import find_entry
from soundloom.errors import RequestError
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.gptq import apply_gptq
from soundloom.quantization.policy import POLICIES, Bits, measure_sensitivity, mixed_bits, pack, uniform_bits
from soundloom.quantization.report import AdherencePair, QuantizationReport, measure_distances, model_sizes
from soundloom.quantization.trajectory import Trajectory

PROBE_SECONDS = 3.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class QuantizationConfig:
    """Which bits, how many weights share a scale, whether codes are calibrated, and how many prompts are judged."""

    policy: str = "4"
    group_size: int = DEFAULT_GROUP_SIZE
    calibrate: bool = False
    prompts: int = 0

    def __post_init__(self) -> None:
        require_group_size(self.group_size)
        if self.policy not in POLICIES:
            raise RequestError(f"weights cannot have {self.policy} bits", f"known are {', '.join(POLICIES)}")
        if self.prompts < 0:
            raise RequestError(f"--prompts must be 0 or more, found {self.prompts}")


def quantize_model(
    full: Checkpoint,
    folder: Path,
    choice: QuantizationConfig,
    run: Callable[[Checkpoint], Model],
    progress: Progress | None = None,
) -> QuantizationReport:
    """Write `full` as a bundle into `folder` and compare the two models.

    `run` brings a checkpoint onto an engine; `progress` hears of measured layers, done and in all. Raises RequestError.
    """
    require_empty(folder)
    require_unpacked(full.name, full.layout, full.tensors)
    model = run(full)
    probe = Trajectory.record(model, PROBE_SECONDS)
    model.engine.free("dit")
    tensors, uncalibrated = pack(full.tensors, _choose(model, probe, choice, run, progress), choice.group_size), None
    if choice.calibrate:
        uncalibrated = measure_distances(model, run(replace(full, tensors=tensors)), probe)
        tensors = apply_gptq(model, tensors, progress)
    name = full.name if find_entry(full.name) else ""
    save_bundle(folder, model.config, tensors, full.text_encoder, name)
    packed = run(open_checkpoint(folder))
    distances = measure_distances(model, packed, probe)
    adherence = _judge(model, packed, choice.prompts) if choice.prompts else []
    return QuantizationReport(model_sizes(model), model_sizes(packed), distances, uncalibrated, adherence)


def _choose(
    model: Model,
    probe: Trajectory,
    choice: QuantizationConfig,
    run: Callable[[Checkpoint], Model],
    progress: Progress | None,
) -> Bits:
    tensors = model.checkpoint.tensors
    if choice.policy != "mixed":
        return uniform_bits(tensors, int(choice.policy), choice.group_size)
    sensitivity = measure_sensitivity(model.checkpoint, probe, choice.group_size, run, progress)
    return mixed_bits(tensors, choice.group_size, sensitivity)


def _judge(full: Model, packed: Model, prompts: int) -> list[AdherencePair]:
    """Judge both models by the same held-out prompts of the sounds that the full one was taught, one clip for each."""
    from soundloom.evaluation.adherence import adherence_metrics
    from soundloom.evaluation.evaluate import EvaluationConfig, score_prompts

    scope = EvaluationConfig(prompts=prompts, seeds=1).for_model(full)
    asked = scope.sample_prompts(prompts)
    return [
        AdherencePair(*both)
        for both in zip(*(adherence_metrics(score_prompts(m, asked, scope)) for m in (full, packed)), strict=True)
    ]
