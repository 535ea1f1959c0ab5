"""Run random requests over the documented range with `mini`, and check every output file.

`python benchmarks/random_requests.py --count 500 --seed 0` prints a table of the requests, how often they ran, and how
many files were above full scale, static, silent, of the wrong length, or changed where they should be preserved. The
exit code is 1 if there are any.

The requests are clips of 0.3 to 20 s, and variations, inpainting, and extensions of files of 0.2 s to 5 minutes, 8 to
96 kHz, mono to 5.1, and 16 bits to float, with regions anywhere.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom import Clip, Model, load
from soundloom.audio.channels import to_channels
from soundloom.audio.checks import Origin, check_audio
from soundloom.audio.resample import resample
from soundloom.datasets.synthetic import SAMPLE_RATE, HeldOutPrompt, family_prompts, render
from soundloom.errors import OutputError
from soundloom.evaluation.synthetic.evaluate import EvaluationConfig

MIN_SECONDS, MAX_SECONDS = 0.3, 20.0  # seconds of a generated clip
MIN_FILE_SECONDS, MAX_FILE_SECONDS = 0.2, 300.0
RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000)
FORMATS = ((".wav", "PCM_16"), (".wav", "PCM_24"), (".wav", "FLOAT"), (".flac", "PCM_24"))
RENDERED = 20.0  # seconds of a source before it is repeated
FAULTS = ("refused", "over full scale", "static", "silent", "wrong length", "kept part changed")


@dataclass(frozen=True)
class Task:
    """A request: its description, and the function that executes it."""

    kind: str
    line: str
    prompt: str
    make: Callable[[], Clip]
    samples: int
    source: Clip | None = None
    new: tuple[tuple[int, int], ...] = ()  # spans of the result that may differ from the source
    offset: int = 0


def tasks(model: Model, count: int, seed: int, folder: Path) -> list[Callable[[], Task]]:
    """Return functions that build the tasks, so that only one source is in memory at a time."""
    scope = EvaluationConfig().for_model(model)
    prompts = family_prompts(
        scope.families, count, seed + 1000, 4.0, False, scope.sounds.plain, scope.sounds.latent_period
    )
    kinds = (generation, generation, variation, inpainting, inpainting, extension)

    def builder(i: int) -> Callable[[], Task]:
        rng = np.random.Generator(np.random.Philox(key=[seed, i]))
        return lambda: kinds[i % len(kinds)](model, prompts[i], rng, folder)

    return [builder(i) for i in range(count)]


def generation(model: Model, prompt: HeldOutPrompt, rng: np.random.Generator, folder: Path) -> Task:
    seconds = round(between(rng, MIN_SECONDS, MAX_SECONDS), 3)
    samples, seed = round(seconds * SAMPLE_RATE), int(rng.integers(2**31))
    line = f"generate {prompt.text!r} {seconds} s"
    return Task("generate", line, prompt.text, lambda: model.generate(prompt.text, seconds=seconds, seed=seed), samples)


def variation(model: Model, prompt: HeldOutPrompt, rng: np.random.Generator, folder: Path) -> Task:
    source, what = sound_file(prompt, rng, folder, model.config.max_seconds)
    noise, seed = float(rng.uniform(0.01, 1)), int(rng.integers(2**31))
    line = f"vary {what} {prompt.text!r} noise {noise:.2f}"
    return Task(
        "vary", line, prompt.text, lambda: model.vary(source, prompt.text, noise=noise, seed=seed), source.samples
    )


def inpainting(model: Model, prompt: HeldOutPrompt, rng: np.random.Generator, folder: Path) -> Task:
    source, what = sound_file(prompt, rng, folder)
    edges = np.sort(rng.uniform(0, source.seconds, 2 * int(rng.integers(1, 4)))).round(3)
    regions = [(float(a), float(min(b, source.seconds))) for a, b in edges.reshape(-1, 2) if b - a > 0.01]
    regions = regions or [(0.0, source.seconds / 2)]
    new = tuple((round(a * source.sample_rate), round(b * source.sample_rate)) for a, b in regions)
    seed = int(rng.integers(2**31))
    line = f"inpaint {what} {regions} {prompt.text!r}"
    made = lambda: model.inpaint(source, regions, prompt.text, seed=seed)  # noqa: E731
    return Task("inpaint", line, prompt.text, made, source.samples, source, new)


def extension(model: Model, prompt: HeldOutPrompt, rng: np.random.Generator, folder: Path) -> Task:
    source, what = sound_file(prompt, rng, folder)
    seconds, before, seed = round(float(rng.uniform(0.1, 15)), 3), bool(rng.integers(2)), int(rng.integers(2**31))
    added = round(seconds * source.sample_rate)
    new = (0, added) if before else (source.samples, source.samples + added)
    line = f"extend {what} by {seconds} s {'before' if before else 'behind'} {prompt.text!r}"
    made = lambda: model.extend(source, seconds, prompt.text, before=before, seed=seed)  # noqa: E731
    return Task("extend", line, prompt.text, made, source.samples + added, source, (new,), added if before else 0)


def sound_file(
    prompt: HeldOutPrompt, rng: np.random.Generator, folder: Path, longest: float = MAX_FILE_SECONDS
) -> tuple[Clip, str]:
    """Write audio of random rate, length, format, and channels, and read it again."""
    seconds = between(rng, MIN_FILE_SECONDS, longest)
    rate, channels = int(rng.choice(RATES)), int(rng.choice((1, 2, 6)))
    suffix, subtype = FORMATS[rng.integers(len(FORMATS))]
    audio = resample(render(prompt.reference_labels, min(seconds, RENDERED), rng), SAMPLE_RATE, rate)
    audio = np.tile(audio, (1, int(np.ceil(seconds * rate / audio.shape[1]))))[:, : round(seconds * rate)]
    audio = to_channels(audio, channels) if channels < 3 else np.tile(audio, (3, 1))
    path = Clip(audio, rate).save(folder / f"source{suffix}", subtype=subtype)
    return Clip.load(path), f"{seconds:.2f} s {rate} Hz {channels} ch {subtype}"


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Sample a length log-uniformly."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def faults(task: Task, folder: Path) -> list[str]:
    """Return the faults of the output file of a task."""
    try:
        made = task.make()
    except OutputError as error:
        return ["refused: " + str(error).splitlines()[0]]
    clip = Clip.load(made.save(folder / "made.wav", subtype="FLOAT" if task.source else None))
    found = ["wrong length"] if clip.samples != task.samples else []
    found += ["over full scale"] if np.abs(clip.audio).max() > 1 else []
    kinds = {finding.kind for finding in check_audio(clip.audio, clip.sample_rate, Origin(task.prompt))}
    found += ["static"] if "static" in kinds else []
    found += ["silent"] if kinds & {"silent", "faint"} else []
    return found + (["kept part changed"] if task.source and not is_kept(task, clip) else [])


def is_kept(task: Task, clip: Clip) -> bool:
    """Return whether all samples outside the generated audio equal the source."""
    source = to_channels(task.source.audio, clip.channels) if task.source.channels > 2 else task.source.audio
    same = np.zeros(clip.samples, dtype=bool)
    end = task.offset + source.shape[1]
    same[task.offset : end] = (clip.audio[:, task.offset : end] == source).all(axis=0)
    for start, stop in task.new:
        same[start:stop] = True
    return bool(same.all())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    model = load(arguments.model, keep_loaded=True)
    asked, found = Counter(), Counter()
    with tempfile.TemporaryDirectory() as name:
        for build in tasks(model, arguments.count, arguments.seed, Path(name)):
            task = build()
            asked[task.kind] += 1
            for fault in faults(task, Path(name)):
                found[task.kind, fault.partition(":")[0]] += 1
                sys.stderr.write(f"{fault}: {task.line}\n")
    rows = [("", "asked", *FAULTS), *((kind, asked[kind], *(found[kind, fault] for fault in FAULTS)) for kind in asked)]
    for row in rows:
        sys.stdout.write(
            "  ".join(str(cell).rjust(len(head) or 8) for cell, head in zip(row, rows[0], strict=True)) + "\n"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
