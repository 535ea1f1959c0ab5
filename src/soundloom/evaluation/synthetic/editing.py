"""Measure seeds, variations and inpainting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.datasets.synthetic import SAMPLE_RATE, HeldOutPrompt, render
from soundloom.evaluation.clips import generate_clips
from soundloom.evaluation.metrics import Metric, mean_metric, share_metrics
from soundloom.evaluation.spectra import loudness_step, spectral_convergence
from soundloom.evaluation.statistics.intervals import rank_correlation
from soundloom.pipeline.stable_audio.model import Model

NOISE_LEVELS = (0.3, 0.45, 0.6, 0.75, 0.9)
SOURCES = 12  # clips to vary
STEADY = 1.5  # largest difference in LU of a source's own region and its surroundings
INPAINT_TOLERANCE = 3.0  # LU
RENDER_STREAM = 0x50757265  # RNG key of reference clips, distinct from those of datasets


def reference_clip(prompt: HeldOutPrompt, seconds: float, number: int) -> Clip:
    """Render the reference sound of a prompt."""
    rng = np.random.Generator(np.random.Philox(key=[RENDER_STREAM, number]))
    return Clip(render(prompt.reference_labels, seconds, rng), SAMPLE_RATE)


def seed_metrics(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float, steps: int | None) -> list[Metric]:
    """Measure that two seeds differ and that one seed repeats bit for bit; a failed clip does neither."""
    differ, repeat, distances = [], [], []
    for prompt in prompts:
        first, again, other = (
            generate_clips(model, [GenerationRequest(prompt.text, seconds=seconds, seed=seed, steps=steps)])[0]
            for seed in (1, 1, 2)
        )
        if not (first and again and other):
            repeat.append(0.0)
            differ.append(0.0)
        else:
            repeat.append(float(np.array_equal(first.audio, again.audio)))
            differ.append(float(not np.array_equal(first.audio, other.audio)))
            distances.append(spectral_convergence(other.audio, first.audio, model.sample_rate))
    metrics = share_metrics("two seeds differ", differ, 1.0) + share_metrics("one seed repeats", repeat, 1.0)
    return [*metrics, mean_metric("spectral convergence of two seeds", distances, "")] if distances else metrics


def variation_metrics(
    model: Model, prompts: Sequence[HeldOutPrompt], seconds: float, steps: int | None
) -> list[Metric]:
    """Measure the distance of variations from their source by noise level; sources with a failed clip are ignored."""
    varied = prompts[:SOURCES]
    sources = [reference_clip(prompt, seconds, i) for i, prompt in enumerate(varied)]
    requests = [
        GenerationRequest(prompt.text, source=source, noise=level, seed=1, steps=steps)
        for prompt, source in zip(varied, sources, strict=True)
        for level in NOISE_LEVELS
    ]
    clips = generate_clips(model, requests)
    distances = np.array(
        [
            spectral_convergence(clip.audio, request.source.audio, SAMPLE_RATE) if clip and request.source else np.nan
            for clip, request in zip(clips, requests, strict=True)
        ]
    ).reshape(len(sources), len(NOISE_LEVELS))
    complete = ~np.isnan(distances).any(axis=1)
    correlations = [
        rank_correlation(NOISE_LEVELS, row.tolist()) if valid else 0.0
        for row, valid in zip(distances, complete, strict=True)
    ]
    means = distances[complete].mean(axis=0).tolist() if complete.any() else []
    overall = rank_correlation(NOISE_LEVELS, means) if means else 0.0
    nearer = [float(row[0] < row[-1]) for row in distances]
    return [
        Metric("variation: rank correlation of noise and mean distance", overall, len(NOISE_LEVELS), goal=0.9),
        mean_metric("variation: the same clip by clip", correlations, ""),
        *share_metrics("variation: noise 0.3 nearer than 0.9", nearer, goal=1.0),
    ]


def inpainting_metrics(
    model: Model, prompts: Sequence[HeldOutPrompt], clips: int, seconds: float, steps: int | None
) -> list[Metric]:
    """Measure the loudness of inpainted regions against their surroundings, in the first steady sources."""
    region = (0.375 * seconds, 0.625 * seconds)
    requests: list[GenerationRequest] = []
    for number, prompt in enumerate(prompts):
        source = reference_clip(prompt, seconds, number)
        if abs(loudness_step(source.audio, SAMPLE_RATE, region)) < STEADY:
            requests.append(GenerationRequest(prompt.text, source=source, regions=(region,), seed=1, steps=steps))
        if len(requests) == clips:
            break
    inpainted = generate_clips(model, requests)
    differences = [loudness_step(clip.audio, SAMPLE_RATE, region) if clip else -100.0 for clip in inpainted]
    within = [float(abs(difference) <= INPAINT_TOLERANCE) for difference in differences]
    return share_metrics("inpainted within 3 dB of surroundings", within, goal=0.80)
