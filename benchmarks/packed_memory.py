"""Print the memory of a transformer with random weights at inference, quantized and not, on the CPU (Linux).

    OMP_NUM_THREADS=1 python benchmarks/packed_memory.py [--model medium] [--only 'int4 torch*'] [--seconds 5]

Each measurement runs in its own process: the peak resident memory while computing two velocities, minus that after
running a tiny model, which loads the framework's code. Weights are memory-mapped, and touched pages count. The printed
share is relative to all weights in half precision.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from math import prod
from pathlib import Path

import numpy as np

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.bundle import (
    BUNDLE_BITS,
    COMPONENT_FILE,
    pack_transformer,
    read_bundle_component,
    write_bundle_component,
)
from soundloom.checkpoints.stable_audio.layouts import DIT_NPZ
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, Shapes, dit_shapes
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.registry import engine_class
from soundloom.pipeline.progress import host_peak, reset_host_peak
from soundloom.testing.stable_audio import tiny_config

MB = 1e6
FRAMES_PER_SECOND = 44100 / 4096
WEIGHTS = (*BUNDLE_BITS, "f16")
CASES = [
    *(f"{weights} torch {precision}" for weights in WEIGHTS for precision in ("fp32", "bf16")),
    *(f"{weights} mlx {precision}" for weights in WEIGHTS for precision in ("fp16", "fp32")),
]


def config_of(model: str, depth: int | None) -> ModelConfig:
    config = CATALOGUE[model].parsed_config()
    return with_depth(config, depth) if depth else config


def with_depth(config: ModelConfig, depth: int) -> ModelConfig:
    diffusion = replace(config.model.diffusion, config=replace(config.dit, depth=depth))
    return replace(config, model=replace(config.model, diffusion=diffusion))


def shapes_of(config: ModelConfig) -> Shapes:
    return {DIT_PREFIX + name: shape for name, shape in dit_shapes(config.dit).items()}


def write_weights(config: ModelConfig, weights: str, folder: Path) -> None:
    """Write a random transformer as a component of a bundle."""
    random = np.random.default_rng(0)

    def tensor(name: str, shape: tuple[int, ...]) -> LazyTensor:
        scale = np.float32(shape[-1] ** -0.5 if len(shape) > 1 else 0.02)
        return LazyTensor(name, "F16", shape, lambda: random.standard_normal(shape, np.float32) * scale, stored=False)

    tensors = {name: tensor(name, shape) for name, shape in shapes_of(config).items()}
    if weights in BUNDLE_BITS:
        tensors = pack_transformer(tensors, BUNDLE_BITS[weights], 64)
    write_bundle_component(folder, DIT_NPZ.from_canonical(tensors).values())


def open_weights(config: ModelConfig, folder: Path) -> Checkpoint:
    tensors = DIT_NPZ.to_canonical(read_bundle_component(folder / COMPONENT_FILE))
    return Checkpoint("random", config, tensors, None, "int4", "", folder, "", (folder / COMPONENT_FILE,))


def run(checkpoint: Checkpoint, engine_name: str, precision: str, seconds: float) -> float:
    """Load the transformer and compute two velocities; return the time of the second."""
    engine, config = engine_class(engine_name)(checkpoint, "cpu", precision), checkpoint.config.dit
    frames = round(seconds * FRAMES_PER_SECOND)
    context, duration, local = (
        engine.array(np.ones(shape, np.float32))
        for shape in ((1, 64, config.cond_token_dim), (1, config.global_cond_dim), (1, config.local_add_cond_dim, 1))
    )
    condition = engine.condition(context, duration, local)
    for _ in range(2):
        began = time.perf_counter()
        v = engine.velocity(engine.array(np.ones((1, config.io_channels, frames), np.float32)), 0.5, condition, None)
        engine.evaluate(v)
    if not np.isfinite(engine.numpy(v)).all():
        raise SystemExit("the velocity is not finite")
    elapsed = time.perf_counter() - began
    engine.free("dit")
    return elapsed


def measure(case: str, config: ModelConfig, work: Path, seconds: float) -> None:
    """Run one measurement in this process, and print its figures as JSON."""
    weights, engine, precision = case.split()
    run(open_weights(tiny_config(config), work / f"tiny-{weights}"), engine, precision, seconds)
    reset_host_peak()
    before = host_peak()
    elapsed = run(open_weights(config, work / weights), engine, precision, seconds)
    print(json.dumps({"bytes": host_peak() - before, "seconds": elapsed}))


def measure_apart(cases: list[str], config: ModelConfig, arguments: list[str], work: Path) -> Iterator[str]:
    """Run each measurement in a new process, and yield a line about it."""
    half = 2 * sum(prod(shape) for shape in shapes_of(config).values())
    for weights in dict.fromkeys(case.split()[0] for case in cases):
        write_weights(tiny_config(config), weights, work / f"tiny-{weights}")
        write_weights(config, weights, work / weights)
    for case in cases:
        command = [sys.executable, __file__, *arguments, "--measure", case, "--work", str(work)]
        figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        used, elapsed = figures["bytes"], figures["seconds"]
        yield f"{case:18} {used / MB:6.0f} MB  {used / half:.3f} of {half / MB:.0f} MB  ({elapsed:.1f} s a velocity)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="medium")
    parser.add_argument("--depth", type=int, help="blocks (default: the model's)")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", default="*", help="comma-separated patterns of measurements")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    config = config_of(args.model, args.depth)
    if args.measure:
        measure(args.measure, config, args.work, args.seconds)
        return
    cases = [case for case in CASES if any(fnmatch(case, pattern) for pattern in args.only.split(","))]
    with tempfile.TemporaryDirectory() as work:
        for line in measure_apart(cases, config, sys.argv[1:], Path(work)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
