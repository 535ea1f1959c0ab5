"""What each embedder can hear, and how fast it embeds.

    OMP_NUM_THREADS=1 python benchmarks/embedders.py [log-mel aisfx musicnn …] [--clips 20] [--seconds 4] [--threads 1]
        [--sounds FOLDER --others FOLDER] [--random-clap]

Damages clips of the synthetic dataset step by step, or those of --sounds, and prints the rank correlation of dose and
Fréchet distance, with the distances; `another class` exchanges music for ambience, or for clips of --others. Then it
prints windows per second. --random-clap adds the speed of CLAP of the size of htsat-unfused with random weights. For
embedders of text, also the share of pairs in which a caption prefers its own clip.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.read import read_audio
from soundloom.audio.resample import resample
from soundloom.datasets.synthetic import SAMPLE_RATE, SyntheticDataset
from soundloom.datasets.synthetic.families import render, sample_source
from soundloom.evaluation.embedders.base import Embedder, EmbedderInfo, TextEmbedder
from soundloom.evaluation.embedders.ladder import LadderRow, caption_preference, ladder
from soundloom.evaluation.embedders.load import load_embedder

MUSIC = ("drum loop", "bass line", "chord progression", "arpeggio", "melody")
AMBIENCE = ("rain", "wind", "sea", "fire", "engine")
CAPTIONED = 40  # clips
TIMED_SECONDS = 5.0

Clips = list[NDArray[np.float32]]


def synthetic(families: tuple[str, ...], count: int, seconds: float, seed: int) -> Clips:
    clips = []
    for number in range(count):
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        clips.append(render(sample_source(families[number % len(families)], rng, seconds), seconds, rng))
    return clips


def read_folder(folder: str, count: int, seconds: float) -> Clips:
    """Read the beginnings of sounds of a folder, in the order of their names, at 44.1 kHz."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())[:count]
    found = [read_audio(path)[:2] for path in paths]
    return [resample(sound[:, : round(seconds * rate)], rate, SAMPLE_RATE) for sound, rate in found]


def speed(embedder: Embedder) -> float:
    """Return windows per second."""
    info = embedder.info
    shape = (info.batch, info.window) if info.channels == 1 else (info.batch, info.channels, info.window)
    windows = (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    embedder.embed(windows)
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < TIMED_SECONDS:
        embedder.embed(windows)
        count += info.batch
    return count / passed


def row_text(name: str, row: LadderRow) -> str:
    steps = ", ".join(f"{dose:g}: {value:.3g}" for dose, value in zip(row.doses[1:], row.distances[1:], strict=True))
    return f"| {name} | {row.name} | {row.correlation:.2f} | {steps} |"


def random_clap() -> Embedder:
    """CLAP of the size of htsat-unfused, sounds only."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    from soundloom.evaluation.embedders.networks.clap import ClapNetwork
    from soundloom.evaluation.embedders.networks.run import NetworkEmbedder

    extractor: Any = ClapFeatureExtractor(frequency_min=50, frequency_max=14000)
    info = EmbedderInfo("random CLAP", extractor.sampling_rate, extractor.nb_max_samples, 512, "", batch=4)
    return NetworkEmbedder(info, ClapNetwork(ClapModel(ClapConfig()), extractor))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["log-mel", "aisfx", "musicnn"])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sounds")
    parser.add_argument("--others")
    parser.add_argument("--random-clap", action="store_true")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    if args.sounds and args.others:
        sounds, others = (read_folder(folder, args.clips, args.seconds) for folder in (args.sounds, args.others))
    else:
        sounds = synthetic(MUSIC, args.clips, args.seconds, 0)
        others = synthetic(AMBIENCE, args.clips, args.seconds, 1)
    embedders = [load_embedder(name) for name in args.names]
    print("| embedder | damage | rank correlation | Fréchet distance by dose |\n|---|---|---|---|")
    for embedder in embedders:
        for row in ladder(embedder, sounds, others, SAMPLE_RATE, lambda line: print(line, file=sys.stderr)):
            print(row_text(embedder.info.name, row), flush=True)
        if isinstance(embedder, TextEmbedder):
            clips = [SyntheticDataset().sample(number) for number in range(CAPTIONED)]
            share = caption_preference(
                embedder, [clip.audio for clip in clips], [clip.captions[0] for clip in clips], SAMPLE_RATE
            )
            print(f"{embedder.info.name}: a caption prefers its own clip in {share:.0%} of pairs")
    print("\n| embedder | windows/s | times real time |\n|---|---|---|")
    for embedder in [*embedders, *([random_clap()] if args.random_clap else [])]:
        rate = speed(embedder)
        print(f"| {embedder.info.name} | {rate:.1f} | {rate * embedder.info.window / embedder.info.rate:.0f} |")


if __name__ == "__main__":
    main()
