"""The same model over the whole range of lengths: short and long clips, extensions, and edits inside long files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.datasets.synthetic import HeldOutPrompt
from soundloom.evaluation.adherence import PITCH_TOLERANCE, TEMPO_TOLERANCE, ClipScores, score_clip
from soundloom.evaluation.clips import generate_clips
from soundloom.evaluation.editing import INPAINT_TOLERANCE, STEADY, reference_clip
from soundloom.evaluation.report import Metric, share_metric
from soundloom.evaluation.spectra import loudness_step
from soundloom.pipeline.stable_audio.model import Model

LENGTHS = (0.3, 0.6, 1.2, 2.0, 4.0)  # seconds, and the longest pass of the model, and twice that, which takes passes
LONGEST = 60.0  # seconds that the synthetic world renders
TEMPO_SECONDS = 2.0  # shorter loops hold too few strokes to tell a tempo
STARTED, EXTENDED = 3.0, 15.0  # seconds of a source, and of what it becomes
FILE_SECONDS, REGION = 60.0, 2.0
REGION_STREAM = 0x6C6F6E67  # keys the places of regions, apart from every other stream


def tested_lengths(longest: float) -> list[float]:
    """Return the lengths in seconds at which a model that makes so many at once is measured."""
    ends = [min(longest, LONGEST), min(2 * longest, LONGEST)]
    return sorted({*(length for length in LENGTHS if length < longest), *ends})


def length_metrics(model: Model, prompts: Sequence[HeldOutPrompt], steps: int | None) -> list[Metric]:
    """What becomes of the same prompts at each length: usable sound, pitch, and tempo where it can be told."""
    found: list[Metric | None] = []
    for seconds in tested_lengths(model.config.max_seconds):
        requests = [GenerationRequest(prompt.text, seconds=seconds, seed=1, steps=steps) for prompt in prompts]
        clips = generate_clips(model, requests)
        sounds = [clip.audio if clip else None for clip in clips]
        found += _judged(f"{seconds:.3g} s", prompts, sounds, model.sample_rate, seconds >= TEMPO_SECONDS)
    return [row for row in found if row]


def extension_metrics(model: Model, prompts: Sequence[HeldOutPrompt], steps: int | None) -> list[Metric]:
    """What continues real sounds from 3 to 15 s: usable sound, pitch and tempo of all that is new."""
    requests = [
        GenerationRequest(prompt.text, source=reference_clip(prompt, STARTED, i), seconds=EXTENDED, seed=1, steps=steps)
        for i, prompt in enumerate(prompts)
    ]
    new = [
        clip.audio[:, round(STARTED * clip.sample_rate) :] if clip else None for clip in generate_clips(model, requests)
    ]
    name = f"extended to {EXTENDED:g} s"
    return [row for row in _judged(name, prompts, new, model.sample_rate, tempo=True) if row]


def long_file_metrics(model: Model, prompts: Sequence[HeldOutPrompt], clips: int, steps: int | None) -> list[Metric]:
    """Regions of 2 s made anew anywhere in a minute of a steady sound: their loudness, and what is kept of the rest."""
    within, kept = [], []
    for request, region in islice(_regions_of_files(prompts, steps), clips):
        clip = generate_clips(model, [request])[0]  # one by one: a minute of sound is 21 MB
        step = loudness_step(clip.audio, clip.sample_rate, region) if clip else np.inf
        within.append(float(abs(step) <= INPAINT_TOLERANCE))
        kept.append(float(clip is not None and _is_kept(clip, request.source, region)))
    name = f"in a file of {FILE_SECONDS:g} s"
    rows = [
        share_metric(f"{name}: region within {INPAINT_TOLERANCE:g} dB of surroundings", within, goal=0.80),
        share_metric(f"{name}: all other samples kept", kept, goal=1.0),
    ]
    return [row for row in rows if row]


def _regions_of_files(
    prompts: Sequence[HeldOutPrompt], steps: int | None
) -> Iterator[tuple[GenerationRequest, tuple[float, float]]]:
    """Yield edits of sources that are steady themselves where the region is."""
    rng = np.random.Generator(np.random.Philox(key=REGION_STREAM))
    for i, prompt in enumerate(prompts):
        start = round(float(rng.uniform(0, FILE_SECONDS - REGION)), 3)
        source, region = reference_clip(prompt, FILE_SECONDS, i), (start, start + REGION)
        if abs(loudness_step(source.audio, source.sample_rate, region)) < STEADY:
            yield GenerationRequest(prompt.text, source=source, regions=(region,), seed=1, steps=steps), region


def _is_kept(clip: Clip, source: Clip | None, region: tuple[float, float]) -> bool:
    if source is None or clip.audio.shape != source.audio.shape:
        return False
    start, end = (round(edge * clip.sample_rate) for edge in region)
    same = clip.audio == source.audio
    return bool(same[:, :start].all() and same[:, end:].all())


def _judged(
    name: str, prompts: Sequence[HeldOutPrompt], sounds: Sequence[np.ndarray | None], rate: int, tempo: bool
) -> list[Metric | None]:
    verdicts = [score_clip(prompt, sound, rate) for prompt, sound in zip(prompts, sounds, strict=True)]
    usable = [float(sound is not None) for sound in sounds]
    rows = [
        share_metric(f"{name}: usable sound", usable, goal=1.0),
        share_metric(f"{name}: pitch within {PITCH_TOLERANCE:g} cents", _pitches(verdicts), goal=0.80),
    ]
    return [*rows, share_metric(f"{name}: tempo within 4 %", _tempos(verdicts), goal=0.80)] if tempo else rows


def _pitches(verdicts: Sequence[ClipScores]) -> list[float]:
    return [float(abs(v.cents) <= PITCH_TOLERANCE) for v in verdicts if v.cents is not None]


def _tempos(verdicts: Sequence[ClipScores]) -> list[float]:
    return [float(abs(v.tempo - 1) <= TEMPO_TOLERANCE) for v in verdicts if v.tempo is not None]
