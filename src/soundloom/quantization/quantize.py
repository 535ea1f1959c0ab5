"""Quantize a Stable Audio model: choose bits, write the bundle, measure the error."""

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
from soundloom.pipeline.progress import ProgressCallback
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.gptq import apply_gptq
from soundloom.quantization.policy import (
    POLICIES,
    Bits,
    candidates,
    measure_sensitivity,
    mixed_bits,
    pack,
    uniform_bits,
)
from soundloom.quantization.report import AdherencePair, QuantizationReport, measure_distances, model_sizes
from soundloom.quantization.trajectory import Trajectory

TRAJECTORY_SECONDS = 3.0


@dataclass(frozen=True)
class QuantizationConfig:
    """The bits policy, the group size, whether to calibrate with GPTQ, and how many prompts to evaluate."""

    policy: str = "4"
    group_size: int = DEFAULT_GROUP_SIZE
    calibrate: bool = False
    prompts: int = 0

    def __post_init__(self) -> None:
        require_group_size(self.group_size)
        if self.policy not in POLICIES:
            raise RequestError(f"weights cannot have {self.policy} bits", f"choose from {', '.join(POLICIES)}")
        if self.prompts < 0:
            raise RequestError(f"--prompts must be 0 or more, found {self.prompts}")


def quantize_model(
    full: Checkpoint,
    folder: Path,
    config: QuantizationConfig,
    run: Callable[[Checkpoint], Model],
    progress: ProgressCallback | None = None,
) -> QuantizationReport:
    """Write `full` as a quantized bundle into `folder` and compare the two models; `run` loads a checkpoint.

    Raises RequestError.
    """
    require_empty(folder)
    require_unpacked(full.name, full.layout, full.tensors)
    model = run(full)
    trajectory = Trajectory.record(model, TRAJECTORY_SECONDS)
    model.engine.free("dit")
    tensors = pack(full.tensors, _assign_bits(full, trajectory, config, run, progress), config.group_size)
    uncalibrated = None
    if config.calibrate:
        uncalibrated = measure_distances(model, run(replace(full, tensors=tensors)), trajectory)
        tensors = apply_gptq(model, tensors, progress)
    name = full.name if find_entry(full.name) else ""
    save_bundle(folder, model.config, tensors, full.text_encoder, name)
    packed = run(open_checkpoint(folder))
    distances = measure_distances(model, packed, trajectory)
    adherence = _measure_adherence(model, packed, config.prompts) if config.prompts else []
    return QuantizationReport(model_sizes(model), model_sizes(packed), distances, uncalibrated, adherence)


def _assign_bits(
    full: Checkpoint,
    trajectory: Trajectory,
    config: QuantizationConfig,
    run: Callable[[Checkpoint], Model],
    progress: ProgressCallback | None,
) -> Bits:
    if config.policy != "mixed":
        return uniform_bits(full.tensors, int(config.policy), config.group_size)
    names = candidates(full.tensors, config.group_size)
    sensitivity = measure_sensitivity(
        full, names, config.group_size, lambda packed: trajectory.error(run(packed).engine), progress
    )
    return mixed_bits(full.tensors, config.group_size, sensitivity)


def _measure_adherence(full: Model, packed: Model, prompts: int) -> list[AdherencePair]:
    """Evaluate both models on the same held-out prompts, one clip each."""
    from soundloom.evaluation.synthetic.adherence import adherence_metrics
    from soundloom.evaluation.synthetic.evaluate import EvaluationConfig, score_prompts

    scope = EvaluationConfig(prompts=prompts, seeds=1).for_model(full)
    asked = scope.sample_prompts(prompts)
    return [
        AdherencePair(*both)
        for both in zip(*(adherence_metrics(score_prompts(m, asked, scope)) for m in (full, packed)), strict=True)
    ]
