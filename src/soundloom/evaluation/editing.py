"""Whether seeds, variations and edits do what they promise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.datasets.synthetic import SAMPLE_RATE, HeldOutPrompt, render
from soundloom.evaluation.clips import generate_clips
from soundloom.evaluation.report import Metric, mean_metric, share_metric
from soundloom.evaluation.spectra import loudness_step, spectral_convergence
from soundloom.evaluation.statistics import rank_correlation
from soundloom.pipeline.stable_audio.model import Model

NOISE_LEVELS = (0.3, 0.45, 0.6, 0.75, 0.9)
SOURCES = 12  # clips that are varied
STEADY = 1.5  # LU by which a source's own region may differ from its surroundings
INPAINT_TOLERANCE = 3.0  # LU
RENDER_STREAM = 0x50757265  # keys the noise of reference_clip sources, apart from every world's


def reference_clip(prompt: HeldOutPrompt, seconds: float, number: int) -> Clip:
    """The real sound of a prompt."""
    rng = np.random.Generator(np.random.Philox(key=[RENDER_STREAM, number]))
    return Clip(render(prompt.reference_labels, seconds, rng), SAMPLE_RATE)


def seed_metrics(model: Model, prompts: Sequence[HeldOutPrompt], seconds: float, steps: int | None) -> list[Metric]:
    """Two seeds of one prompt differ, and one repeats bit for bit; a clip that cannot be made does neither."""
    differ, repeat, apart = [], [], []
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
            apart.append(spectral_convergence(other.audio, first.audio, model.sample_rate))
    shares = [share_metric("two seeds differ", differ, goal=1.0), share_metric("one seed repeats", repeat, goal=1.0)]
    found = [row for row in shares if row]
    return [*found, mean_metric("spectral convergence of two seeds", apart, "")] if apart else found


def variation_metrics(
    model: Model, prompts: Sequence[HeldOutPrompt], seconds: float, steps: int | None
) -> list[Metric]:
    """How far variations are from their source, by noise level; a source with one that cannot be made tells nothing."""
    varied = prompts[:SOURCES]
    sources = [reference_clip(prompt, seconds, i) for i, prompt in enumerate(varied)]
    requests = [
        GenerationRequest(prompt.text, source=source, noise=level, seed=1, steps=steps)
        for prompt, source in zip(varied, sources, strict=True)
        for level in NOISE_LEVELS
    ]
    clips = generate_clips(model, requests)
    far = np.array(
        [
            spectral_convergence(clip.audio, request.source.audio, SAMPLE_RATE) if clip and request.source else np.nan
            for clip, request in zip(clips, requests, strict=True)
        ]
    ).reshape(len(sources), len(NOISE_LEVELS))
    whole = ~np.isnan(far).any(axis=1)
    correlations = [
        rank_correlation(NOISE_LEVELS, row.tolist()) if full else 0.0 for row, full in zip(far, whole, strict=True)
    ]
    together = rank_correlation(NOISE_LEVELS, far[whole].mean(axis=0).tolist()) if whole.any() else 0.0
    rows = [Metric("variation: rank correlation of noise and mean distance", together, len(NOISE_LEVELS), goal=0.9)]
    rows.append(mean_metric("variation: the same clip by clip", correlations, ""))
    nearer = share_metric("variation: noise 0.3 nearer than 0.9", [float(row[0] < row[-1]) for row in far], goal=1.0)
    return [*rows, *([nearer] if nearer else [])]


def inpainting_metrics(
    model: Model, prompts: Sequence[HeldOutPrompt], clips: int, seconds: float, steps: int | None
) -> list[Metric]:
    """Loudness of renewed regions against their surroundings, in the first sources that are steady themselves."""
    region = (0.375 * seconds, 0.625 * seconds)
    requests: list[GenerationRequest] = []
    for number, prompt in enumerate(prompts):
        source = reference_clip(prompt, seconds, number)
        if abs(loudness_step(source.audio, SAMPLE_RATE, region)) < STEADY:
            requests.append(GenerationRequest(prompt.text, source=source, regions=(region,), seed=1, steps=steps))
        if len(requests) == clips:
            break
    made = generate_clips(model, requests)
    steps_found = [loudness_step(clip.audio, SAMPLE_RATE, region) if clip else -100.0 for clip in made]
    within = [float(abs(step) <= INPAINT_TOLERANCE) for step in steps_found]
    row = share_metric("inpainted within 3 dB of surroundings", within, goal=0.80)
    return [row] if row else []
