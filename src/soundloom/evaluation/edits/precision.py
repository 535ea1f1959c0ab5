"""Compare precisions of a Stable Audio model with FP32: one velocity, final latents, and sound, from equal noise.

Below INT8 a sampler often ends at another sample, as good as the first: differences of sounds then mean nothing, and
only distances between sets do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.diffusion.noise import batch_noise
from soundloom.engines.stable_audio import Component
from soundloom.evaluation.edits.figures import group_interval
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord
from soundloom.evaluation.signals import psnr, snr
from soundloom.pipeline.progress import ProgressReporter
from soundloom.pipeline.stable_audio.executor import Executor, PassResult
from soundloom.pipeline.stable_audio.model import Model
from soundloom.pipeline.stable_audio.plan import BatchPlan, PlannedPass, plan_pass
from soundloom.pipeline.stable_audio.velocity import VelocityField

TIMES = (0.9, 0.7, 0.5, 0.3, 0.1)
REFERENCE = "fp32"
BATCH = 4  # clips at once
LARGEST = 200.0  # dB, of equal signals

Array = NDArray[np.float32]


@dataclass(frozen=True)
class PrecisionPrompt:
    """A clip to generate with every precision."""

    id: str
    text: str
    seed: int
    seconds: float


@dataclass
class PrecisionRun:
    """What one precision made: latents (c, t) and sound (2, n) of each prompt, and velocities (c, t) by time."""

    latents: list[Array] = field(default_factory=list)
    sounds: list[Array] = field(default_factory=list)
    velocities: list[dict[float, Array]] = field(default_factory=list)


class VelocityProbe(Executor):
    """Samples clips, and first computes the velocity of given latents at several times."""

    def __init__(self, *args: Any, points: dict[float, Array] | None = None, **options: Any) -> None:
        """`points` are latents (b, c, t) by their time; None computes no velocities."""
        super().__init__(*args, **options)
        self.points = points or {}
        self.velocities: dict[float, Array] = {}

    def _free(self, *components: Component) -> None:
        """Keep networks for the next batch; the caller frees them."""

    def _sample(self, batch: BatchPlan, text: Any, source: Any, adapters: Any) -> Iterator[Any]:
        local = self.engine.array(self._local(batch, source))
        field = VelocityField(self.engine, batch, self._embeddings(batch, text, local), lambda: None)
        for time, x in self.points.items():
            self.velocities[time] = self.engine.numpy(field(self.engine.array(x), time))
        yield from super()._sample(batch, text, source, adapters)


def run_precision(
    model: Model,
    prompts: Sequence[PrecisionPrompt],
    reference: PrecisionRun | None,
    steps: int | None = None,
    log: Callable[[int, int], None] = lambda done, total: None,
) -> PrecisionRun:
    """Generate prompts of equal length; with a reference, also the velocities between its latents and their noise.

    Without a reference there are none: the velocities of FP32 need a second run, with its own result. All networks are
    freed at the end.
    """
    run = PrecisionRun()
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        passes = _passes(model, batch, steps)
        points = _points([one.seed for one in passes], reference.latents[start : start + BATCH]) if reference else {}
        results, velocities = _execute(model, passes, points)
        run.latents += [result.latents for result in results]
        run.sounds += [result.audio for result in results]
        run.velocities += [{time: values[row] for time, values in velocities.items()} for row in range(len(batch))]
        log(min(start + BATCH, len(prompts)), len(prompts))
    model.engine.free(*model.components)
    return run


def _passes(model: Model, prompts: Sequence[PrecisionPrompt], steps: int | None) -> list[PlannedPass]:
    requests = [GenerationRequest(one.text, seconds=one.seconds, seed=one.seed, steps=steps) for one in prompts]
    return [plan_pass(clip, model.config) for clip in model.plan(requests).clips]


def _points(seeds: Sequence[int], latents: Sequence[Array]) -> dict[float, Array]:
    """Return latents (b, c, t) on the straight way from noise to the final latents, by their time."""
    data = np.stack(latents)
    noise = batch_noise(list(seeds), 0, data.shape[1], data.shape[2])
    return {time: ((1 - time) * data + time * noise).astype(np.float32) for time in TIMES}


def _execute(
    model: Model, passes: Sequence[PlannedPass], points: dict[float, Array]
) -> tuple[list[PassResult], dict[float, Array]]:
    reporter = ProgressReporter(model.engine, clips=len(passes))
    probe = VelocityProbe(model.engine, model.config, model.tokenizer, reporter, points=points)
    return probe.run(passes), probe.velocities


def compare_precision(
    name: str, run: PrecisionRun, reference: PrecisionRun, prompts: Sequence[PrecisionPrompt]
) -> tuple[list[Metric], list[ClipRecord]]:
    """Return how far a precision's velocities, latents and sounds are from those of FP32."""
    records = []
    for row, prompt in enumerate(prompts):
        figures = {}
        for time in run.velocities[row]:
            ours, theirs = run.velocities[row][time], reference.velocities[row][time]
            figures[f"precision/{name}/velocity_cosine/{time:g}"] = cosine(ours, theirs)
            figures[f"precision/{name}/velocity_error/{time:g}"] = relative_error(ours, theirs)
        figures |= signal_figures(f"precision/{name}/latents", run.latents[row], reference.latents[row])
        figures |= signal_figures(f"precision/{name}/sound", run.sounds[row], reference.sounds[row])
        finite = {key: value for key, value in figures.items() if np.isfinite(value)}
        failures = () if len(finite) == len(figures) else ("not finite",)
        records.append(ClipRecord(f"{prompt.id} {name}", prompt.text, prompt.seed, finite, failures, source=prompt.id))
    return mean_figures(records), records


def signal_figures(name: str, estimate: Array, reference: Array) -> dict[str, float]:
    """Return SNR, PSNR of peak 1.0, cosine and relative error; ratios of equal signals are 200 dB."""
    ratios = {"snr": snr(estimate, reference), "psnr": psnr(estimate, reference)}
    found = {key: min(value, LARGEST) for key, value in ratios.items()}
    found |= {"cosine": cosine(estimate, reference), "error": relative_error(estimate, reference)}
    return {f"{name}_{key}": value for key, value in found.items()}


def cosine(a: Array, b: Array) -> float:
    """Return the cosine of two arrays; NaN if one is zero."""
    x, y = (np.asarray(array, np.float64).ravel() for array in (a, b))
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm else float("nan")


def relative_error(estimate: Array, reference: Array) -> float:
    """Return the norm of the error over that of the reference; NaN if that is zero."""
    truth = np.asarray(reference, np.float64)
    norm = np.linalg.norm(truth)
    return float(np.linalg.norm(np.asarray(estimate, np.float64) - truth) / norm) if norm else float("nan")


def mean_figures(records: Sequence[ClipRecord]) -> list[Metric]:
    """Return the mean of each figure over clips, with its interval."""
    metrics = []
    for name in dict.fromkeys(name for record in records for name in record.figures):
        values = np.array([record.figures[name] for record in records if name in record.figures])
        interval, method = group_interval(values, unit="clips")
        unit = "dB" if name.endswith("snr") else ""
        direction = "lower" if "error" in name else "higher"
        metrics.append(
            Metric(name, float(values.mean()), len(values), interval, unit=unit, direction=direction, method=method)  # type: ignore[arg-type]
        )
    return metrics
