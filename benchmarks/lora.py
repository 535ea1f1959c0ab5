"""Measure what LoRA adapters cost: time per step, memory, adding one, and changing its strength.

    python benchmarks/lora.py [--model small-music] [--seconds 30] [--precision auto] [--type dora-rows] [--rank 16]
        [--turns 5]

Makes adapters with random values of the layers that most published ones change. Samples a clip without adapters, with
one and with three, in turns, and prints the median of the ratios within each turn. Peak memory is that of a process of
its own, with and without an adapter. The model has random weights: see `soundloom bench --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import soundloom
from soundloom.bench import child
from soundloom.bench.cases import require_weights, weights_folder
from soundloom.lora.adapter import TYPES
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import module_shapes
from soundloom.pipeline.stable_audio.model import Model
from soundloom.testing.adapters import make_adapter

COUNTS = (0, 1, 3)
PROMPT = "rain"


def sampling_seconds(model: Model, seconds: float, loras: dict[str, float]) -> float:
    """Return the seconds that sampling a clip takes, without networks that are loaded first."""
    found = 0.0

    def note(progress: soundloom.Progress) -> None:
        nonlocal found
        if progress.stage == "sample" and progress.finished:
            found = progress.seconds

    model.generate(PROMPT, seconds=seconds, seed=0, loras=loras, progress=note)
    return found


def measure_speed(model: Model, files: list[Path], seconds: float, turns: int) -> None:
    """Print the time of adding an adapter, of changing its strength, and the ratios of sampling times."""
    model.generate(PROMPT, seconds=1, seed=0)
    started = time.perf_counter()
    model.add_lora(files[0], name="0")
    _compile(model)
    print(f"add an adapter:        {time.perf_counter() - started:.2f} s")
    for strength in (0.5, 0.9):
        started = time.perf_counter()
        model.set_lora("0", strength)
        _compile(model)
    print(f"change its strength:   {1000 * (time.perf_counter() - started):.0f} ms")
    for number, file in enumerate(files[1:], 1):
        model.add_lora(file, name=str(number))
    stacks = {count: {str(number): 1.0 for number in range(count)} for count in COUNTS}
    times: dict[int, list[float]] = {count: [] for count in COUNTS}
    for turn in range(turns + 1):
        for count, loras in stacks.items():
            taken = sampling_seconds(model, seconds, loras)
            if turn:  # the first turn loads
                times[count].append(taken)
    for count in COUNTS[1:]:
        ratio = median(a / b for a, b in zip(times[count], times[0], strict=True))
        fastest = min(times[count]) / min(times[0])
        print(f"sampling with {count} of {len(files)}:  {ratio:.3f} times without (of the fastest turns {fastest:.3f})")
    print(f"sampling without:      {median(times[0]):.2f} s, all turns {times}")


def _compile(model: Model) -> None:
    """Compile the adapters of the model and load them, as the first step of a clip does."""
    stack = model._adapters.resolve(None, "fade")
    assert stack is not None
    ones = (1.0,) * len(stack.uses)
    model._adapters.load(model.engine, [model._adapters.compile(stack, ones, ones)])
    model.engine.use_branches(0)
    model.engine.use_branches(None)


def peak_megabytes(model: Path, seconds: float, precision: str, adapters: list[Path]) -> float:
    """Return the peak memory of a process that generates one clip."""
    command = [sys.executable, "-m", "soundloom", "generate", PROMPT, "--model", str(model), "--seed", "0", "--quiet"]
    command += ["--seconds", str(seconds), "--precision", precision, "--keep-bad"]
    for adapter in adapters:
        command += ["--lora", str(adapter)]
    with TemporaryDirectory() as folder:
        measured = [sys.executable, child.__file__, *command, "-o", "clip.wav"]
        output = subprocess.run(measured, cwd=folder, capture_output=True, text=True, check=True).stdout
    return float(json.loads(output)["bytes"]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small-music")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--type", default="dora-rows", choices=TYPES)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # random weights are far over full scale
    folder = require_weights(args.model, weights_folder())
    model = soundloom.load(folder, keep_loaded=True, keep_bad=True, precision=args.precision)
    print(f"{args.model}, {args.seconds:g} s, {model.engine.precision}, {args.type}, rank {args.rank}")
    with TemporaryDirectory() as place:
        files = [Path(place) / f"{number}.safetensors" for number in range(max(COUNTS))]
        for number, file in enumerate(files):
            write_adapter(file, make_adapter(module_shapes(model.config), args.type, number, size=0.2, rank=args.rank))
        measure_speed(model, files, args.seconds, args.turns)
        del model
        peaks = [peak_megabytes(folder, args.seconds, args.precision, files[:count]) for count in (0, 1, 0, 1)]
        without, with_one = min(peaks[::2]), min(peaks[1::2])
        print(f"peak memory:           {with_one:.0f} MB with one adapter, {without:.0f} MB without")


if __name__ == "__main__":
    main()
