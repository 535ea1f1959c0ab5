"""Print the peak resident memory of Instruct-MusicGen at full size with random INT4 weights, on the CPU (Linux).

    OMP_NUM_THREADS=2 python benchmarks/musicgen_memory.py [--size large] [--seconds 1,12] [--work FOLDER]

The random quantized weights are in a memory-mapped file, whose touched pages count. Each length is measured in its own
process, which edits that many seconds in windows of `--window`, and prints the peak up to the end of each stage. The
peak should be that of one window at any length.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.checkpoints.formats.affine import WORD_BITS, Quantized
from soundloom.checkpoints.formats.packed import from_quantized
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.musicgen.save import can_pack, save_musicgen
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, LM_PREFIX, musicgen_shapes
from soundloom.checkpoints.stable_audio.bundle import BUNDLE_BITS, DEFAULT_GROUP_SIZE
from soundloom.config.musicgen.model import MusicGenConfig, published_musicgen
from soundloom.pipeline.load import load_music
from soundloom.pipeline.progress import Progress
from soundloom.testing.musicgen import train_tokenizer

MB = 1e6


def write_model(config: MusicGenConfig, folder: Path) -> None:
    """Write random weights: quantized matrices in the language model's layers, the rest in half precision."""
    tensors = {name: _tensor(name, shape) for name, shape in musicgen_shapes(config).items()}
    save_musicgen(folder, config, tensors, train_tokenizer(config.t5.vocab_size))


def _tensor(name: str, shape: tuple[int, ...]) -> LazyTensor:
    random = np.random.default_rng(prod(shape))
    deviation = np.float32(shape[-1] ** -0.5 if len(shape) > 1 else 0.1)
    is_half = name.startswith((LM_PREFIX, ADAPTER_PREFIX))
    plain = LazyTensor(
        name, "F16" if is_half else "F32", shape, lambda: random.standard_normal(shape, np.float32) * deviation, False
    )
    if not can_pack(name, shape, DEFAULT_GROUP_SIZE):
        return plain
    bits, (rows, inputs) = BUNDLE_BITS["int4"], shape

    def codes() -> Quantized:
        words = random.integers(0, 1 << WORD_BITS, (rows, inputs * bits // WORD_BITS), np.uint32)
        scales = np.full((rows, inputs // DEFAULT_GROUP_SIZE), deviation / 4, np.float16)
        return Quantized(words, scales, (-7.5 * scales).astype(np.float16))

    return from_quantized(plain, codes, bits, DEFAULT_GROUP_SIZE)


def measure(folder: Path, seconds: float, window: float | None, precision: str) -> dict[str, int]:
    """Edit noise; return the peak memory up to the end of each stage, in bytes."""
    peaks: dict[str, int] = {}

    def listen(progress: Progress) -> None:
        if progress.host_bytes is not None:
            peaks[progress.stage] = progress.host_bytes

    model = load_music(folder, device="cpu", precision=precision)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (1, round(seconds * model.sample_rate))).astype(np.float32)
    model.edit(Clip(noise, model.sample_rate), "Only drums", seed=0, window=window, progress=listen)
    return peaks


def measure_apart(lengths: list[float], arguments: list[str]) -> Iterator[str]:
    """Measure each length in a new process, and yield a line about it."""
    for seconds in lengths:
        command = [sys.executable, __file__, *arguments, "--measure", str(seconds)]
        peaks = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        stages = ", ".join(f"{stage} {peak / MB:.0f}" for stage, peak in peaks.items())
        yield f"{seconds:5.1f} s: peak {max(peaks.values()) / MB:5.0f} MB ({stages})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="large", choices=("small", "medium", "large"))
    parser.add_argument("--seconds", default="1", help="lengths, separated by commas")
    parser.add_argument("--window", type=float)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "soundloom-benchmarks")
    parser.add_argument("--measure", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = args.work / f"instruct-{args.size}-int4"
    if args.measure:
        print(json.dumps(measure(folder, args.measure, args.window, args.precision)))
        return
    if not folder.exists():
        write_model(published_musicgen(args.size, instruct=True), folder)
    print(f"{sum(file.stat().st_size for file in folder.iterdir()) / MB:.0f} MB of files, {os.cpu_count()} cores")
    for line in measure_apart([float(length) for length in args.seconds.split(",")], sys.argv[1:]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
