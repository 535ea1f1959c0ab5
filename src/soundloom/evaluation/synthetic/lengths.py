"""Measure a model at all lengths: short and long clips, extensions, and edits in long files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.datasets.synthetic import HeldOutPrompt
from soundloom.evaluation.clips import generate_clips
from soundloom.evaluation.metrics import Metric, share_metrics
from soundloom.evaluation.spectra import loudness_step
from soundloom.evaluation.synthetic.adherence import PITCH_TOLERANCE, TEMPO_TOLERANCE, score_clip
from soundloom.evaluation.synthetic.editing import INPAINT_TOLERANCE, STEADY, reference_clip
from soundloom.pipeline.stable_audio.model import Model

LENGTHS = (0.3, 0.6, 1.2, 2.0, 4.0)  # seconds; also the longest pass of the model, and twice that, in two passes
MAX_SECONDS = 60.0  # that the synthetic dataset can render
TEMPO_SECONDS = 2.0  # shorter loops have too few onsets to estimate a tempo
SOURCE_SECONDS, EXTENDED_SECONDS = 3.0, 15.0
FILE_SECONDS, REGION = 60.0, 2.0
REGION_STREAM = 0x6C6F6E67  # RNG key of the positions of regions


def tested_lengths(longest: float) -> list[float]:
    """Return the lengths in seconds at which to measure a model with this longest pass."""
    limits = [min(longest, MAX_SECONDS), min(2 * longest, MAX_SECONDS)]
    return sorted({*(length for length in LENGTHS if length < longest), *limits})


def length_metrics(model: Model, prompts: Sequence[HeldOutPrompt], steps: int | None) -> list[Metric]:
    """Measure the same prompts at each length: usable sound, pitch, and tempo where it can be estimated."""
    metrics: list[Metric] = []
    for seconds in tested_lengths(model.config.max_seconds):
        requests = [GenerationRequest(prompt.text, seconds=seconds, seed=1, steps=steps) for prompt in prompts]
        clips = generate_clips(model, requests)
        sounds = [clip.audio if clip else None for clip in clips]
        metrics += _score(f"{seconds:.3g} s", prompts, sounds, model.sample_rate, seconds >= TEMPO_SECONDS)
    return metrics


def extension_metrics(model: Model, prompts: Sequence[HeldOutPrompt], steps: int | None) -> list[Metric]:
    """Measure extensions of reference sounds from 3 to 15 s: usable sound, pitch and tempo of the new part."""
    requests = [
        GenerationRequest(
            prompt.text, source=reference_clip(prompt, SOURCE_SECONDS, i), seconds=EXTENDED_SECONDS, seed=1, steps=steps
        )
        for i, prompt in enumerate(prompts)
    ]
    new = [
        clip.audio[:, round(SOURCE_SECONDS * clip.sample_rate) :] if clip else None
        for clip in generate_clips(model, requests)
    ]
    name = f"extended to {EXTENDED_SECONDS:g} s"
    return _score(name, prompts, new, model.sample_rate, tempo=True)


def long_file_metrics(model: Model, prompts: Sequence[HeldOutPrompt], clips: int, steps: int | None) -> list[Metric]:
    """Inpaint 2 s anywhere in a minute of steady sound; measure its loudness and that other samples are unchanged."""
    within, preserved = [], []
    for request, region in islice(_regions_of_files(prompts, steps), clips):
        clip = generate_clips(model, [request])[0]  # one by one: a minute of sound is 21 MB
        difference = loudness_step(clip.audio, clip.sample_rate, region) if clip else np.inf
        within.append(float(abs(difference) <= INPAINT_TOLERANCE))
        preserved.append(float(clip is not None and _is_preserved(clip, request.source, region)))
    name = f"in a file of {FILE_SECONDS:g} s"
    return [
        *share_metrics(f"{name}: region within {INPAINT_TOLERANCE:g} dB of surroundings", within, goal=0.80),
        *share_metrics(f"{name}: all other samples preserved", preserved, goal=1.0),
    ]


def _regions_of_files(
    prompts: Sequence[HeldOutPrompt], steps: int | None
) -> Iterator[tuple[GenerationRequest, tuple[float, float]]]:
    """Yield inpainting requests for sources that are steady around their region."""
    rng = np.random.Generator(np.random.Philox(key=REGION_STREAM))
    for i, prompt in enumerate(prompts):
        start = round(float(rng.uniform(0, FILE_SECONDS - REGION)), 3)
        source, region = reference_clip(prompt, FILE_SECONDS, i), (start, start + REGION)
        if abs(loudness_step(source.audio, source.sample_rate, region)) < STEADY:
            yield GenerationRequest(prompt.text, source=source, regions=(region,), seed=1, steps=steps), region


def _is_preserved(clip: Clip, source: Clip | None, region: tuple[float, float]) -> bool:
    if source is None or clip.audio.shape != source.audio.shape:
        return False
    start, end = (round(edge * clip.sample_rate) for edge in region)
    same = clip.audio == source.audio
    return bool(same[:, :start].all() and same[:, end:].all())


def _score(
    name: str, prompts: Sequence[HeldOutPrompt], sounds: Sequence[np.ndarray | None], rate: int, tempo: bool
) -> list[Metric]:
    scores = [score_clip(prompt, sound, rate) for prompt, sound in zip(prompts, sounds, strict=True)]
    usable = [float(sound is not None) for sound in sounds]
    pitches = [float(abs(clip.cents) <= PITCH_TOLERANCE) for clip in scores if clip.cents is not None]
    tempos = [float(abs(clip.tempo - 1) <= TEMPO_TOLERANCE) for clip in scores if clip.tempo is not None]
    metrics = [
        *share_metrics(f"{name}: usable sound", usable, goal=1.0),
        *share_metrics(f"{name}: pitch within {PITCH_TOLERANCE:g} cents", pitches, goal=0.80),
    ]
    return metrics + share_metrics(f"{name}: tempo within 4 %", tempos, goal=0.80) if tempo else metrics
