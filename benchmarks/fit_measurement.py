"""Fit the networks that score tempos and keys in `soundloom.audio.measure`: python benchmarks/fit_measurement.py

Renders labeled clips (needs fluidsynth and FluidR3_GM.sf2), trains on four in five of them, prints how often the
others are right and unsure at several thresholds, and writes tempo.npz and key.npz into the package. With
`--cache FOLDER`, features are kept there, and rendering continues where it stopped. Takes about an hour on one core.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import log_softmax

from benchmarks.labeled_clips import (
    LabeledClip,
    held_chords,
    soundfont_clips,
    soundfont_notes,
    synthetic_clips,
    unsure_clips,
)
from benchmarks.measurement import TEMPO_TOLERANCE, mirex_score
from soundloom.audio.blocks import as_stream
from soundloom.audio.measure.frames import analyze
from soundloom.audio.measure.key import MODES, NAMES, key_features, key_name, key_probabilities
from soundloom.audio.measure.measurement import analyzed_parts
from soundloom.audio.measure.scores import FOLDER
from soundloom.audio.measure.tempo import candidates, has_rhythm, tempo_features, tempo_probabilities

# Seeds below 400 are for benchmarks/measurement.py. For the weights in the package, an earlier version of the patterns
# rendered seeds below 2000.
SETS: dict[str, tuple[Callable[[Iterable[int]], Iterator[LabeledClip]], tuple[range, ...]]] = {
    "soundfont": (soundfont_clips, (range(400, 2000), range(4000, 5600), range(7000, 7800))),
    "synthetic": (synthetic_clips, (range(400, 2000), range(4000, 5600))),
    "unsure": (unsure_clips, (range(400, 1000), range(4000, 4800))),
    "notes": (soundfont_notes, (range(400, 600), range(4000, 4600))),
    "chords": (held_chords, (range(400, 600),)),
}
BATCH = 200  # clips in a file of the cache
TUNED = 5  # every fifth clip is not trained on
SHARPNESS = 0.012  # standard deviation of the target tempo, relative
CLIP = 8.0  # deviations, as in `scores`
THRESHOLDS = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Example:
    """Features of a clip, None where they cannot be measured, and its labels."""

    kind: str
    seed: int
    tempo: float | None
    key: str | None
    tempo_features: Floats | None
    key_features: Floats | None


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a network."""

    hidden: tuple[int, ...]
    dropout: float
    decay: float
    epochs: int
    rate: float = 3e-3
    batch: int = 64


SETTINGS = {"tempo": Settings((96, 32), 0.25, 1e-2, 30), "key": Settings((96,), 0.4, 5e-2, 80)}


def examples(name: str, seeds: range) -> list[Example]:
    """Features of the clips of a set."""
    found = []
    for seed, clip in zip(seeds, SETS[name][0](seeds), strict=True):
        part = next(iter(analyzed_parts(analyze(as_stream(clip.audio), clip.rate))), None)
        timed = tempo_features(part).astype(np.float16) if part and has_rhythm(part) else None
        keyed = key_features(part.notes).astype(np.float32) if part and part.notes.any() else None
        found.append(Example(name, seed, clip.tempo, clip.key, timed, keyed))
    return found


def load_examples(cache: Path | None) -> list[Example]:
    """Features of all sets, from the cache where it has them."""
    found = []
    for name, seeds in ((name, seeds) for name, (_, ranges) in SETS.items() for seeds in ranges):
        for first in range(seeds.start, seeds.stop, BATCH):
            batch = range(first, min(first + BATCH, seeds.stop))
            file = cache / f"{name}_{first}.pickle" if cache else None
            if file and file.is_file():
                found += pickle.loads(file.read_bytes())
                continue
            made = examples(name, batch)
            if file:
                file.write_bytes(pickle.dumps(made))
            found += made
            print(f"{name} {batch.start} to {batch.stop - 1}", flush=True)
    return found


def tempo_target(example: Example) -> Floats:
    """Probability of each candidate, and of no tempo."""
    if example.tempo is None:
        return np.eye(len(candidates()) + 1)[-1]
    away = np.log(candidates() / example.tempo)
    target = np.where(np.abs(away) < np.log(1 + TEMPO_TOLERANCE), np.exp(-0.5 * (away / SHARPNESS) ** 2), 0)
    return np.append(target / target.sum(), 0)


def key_target(example: Example) -> Floats:
    """Probability of each key, major ones first, and of no key."""
    if example.key is None:
        return np.eye(25)[-1]
    tonic, mode = example.key.split()
    return np.eye(25)[NAMES.index(tonic) + 12 * MODES.index(mode)]


def fit(features: Floats, targets: Floats, settings: Settings) -> dict[str, Floats]:
    """Train a network on features (clips, candidates, f) and targets (clips, candidates · outputs + 1)."""
    torch.manual_seed(0)
    x, y = torch.tensor(features), torch.tensor(targets, dtype=torch.float32)
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    mean, deviation = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    network = _network(x.shape[-1], (y.shape[1] - 1) // x.shape[1], settings)
    optimizer = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.decay)
    steps = settings.epochs * (len(x) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps + 1)
    offset, scale = torch.tensor(mean, dtype=torch.float32), torch.tensor(deviation, dtype=torch.float32)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(x)).split(settings.batch)[: len(x) // settings.batch]:
            scaled = ((x[rows].float() - offset) / scale).clamp(-CLIP, CLIP)
            found = network(scaled).transpose(1, 2).reshape(len(rows), -1)
            loss = -(y[rows] * log_softmax(torch.cat([found, torch.zeros(len(rows), 1)], 1), 1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    layers = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    weights = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    for number, layer in enumerate(layers):
        weights[f"w{number}"] = layer.weight.detach().numpy().T.astype(np.float16)
        weights[f"b{number}"] = layer.bias.detach().numpy().astype(np.float16)
    return weights


def _network(inputs: int, outputs: int, settings: Settings) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for width in settings.hidden:
        layers += [torch.nn.Linear(inputs, width), torch.nn.ReLU(), torch.nn.Dropout(settings.dropout)]
        inputs = width
    return torch.nn.Sequential(*layers, torch.nn.Linear(inputs, outputs))


def report(name: str, tuned: Sequence[Example]) -> None:
    """Print shares of answers and of right ones for each set, at several thresholds."""
    answers = {(e.kind, e.seed): _answer(name, e) for e in tuned}
    for least in THRESHOLDS:
        parts = []
        for kind in SETS:
            part = [e for e in tuned if e.kind == kind]
            known = [e for e in part if getattr(e, name) is not None]
            others = [e for e in part if getattr(e, name) is None]
            if known:
                given = [(e, answers[e.kind, e.seed][0]) for e in known if answers[e.kind, e.seed][1] >= least]
                right = np.mean([_score(name, guess, e) for e, guess in given]) if given else float("nan")
                parts.append(f"{kind} {len(given) / len(known):.1%} answered {right:.3f} right")
            if others:
                unsure = np.mean([answers[e.kind, e.seed][1] < least for e in others])
                parts.append(f"{kind} {unsure:.1%} unsure")
        print(f"{name} {least:.2f}: {'; '.join(parts)}", flush=True)


def _answer(name: str, example: Example) -> tuple[str | float, float]:
    """The most probable tempo or key, and its probability."""
    features = getattr(example, f"{name}_features")
    if features is None:
        return "", 0.0
    find = tempo_probabilities if name == "tempo" else key_probabilities
    likely = find(features.astype(np.float64))
    best = int(likely.argmax())
    return float(candidates()[best]) if name == "tempo" else key_name(best), float(likely[best])


def _score(name: str, guess: str | float, example: Example) -> float:
    if name == "tempo":
        return float(abs(float(guess) / (example.tempo or 1) - 1) <= TEMPO_TOLERANCE)
    return mirex_score(str(guess), str(example.key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only", choices=tuple(SETTINGS))
    args = parser.parse_args()
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    found = load_examples(args.cache)
    for name, target in (("tempo", tempo_target), ("key", key_target)):
        if args.only not in (None, name):
            continue
        usable = [e for e in found if getattr(e, f"{name}_features") is not None and e.seed % TUNED]
        features = np.stack([getattr(e, f"{name}_features") for e in usable])
        weights = fit(features, np.stack([target(e) for e in usable]), SETTINGS[name])
        np.savez_compressed(FOLDER / f"{name}.npz", **weights)  # type: ignore[arg-type]
        report(name, [e for e in found if not e.seed % TUNED])


if __name__ == "__main__":
    main()
