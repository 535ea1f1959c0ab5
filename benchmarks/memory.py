"""Print the peak resident memory of generating and decoding with full-size random weights, on the CPU in float32.

    OMP_NUM_THREADS=2 python benchmarks/memory.py [--only 'generate,same-s *'] [--work FOLDER]

Missing checkpoints of 2.8 and 3.4 GB are generated in the folder; delete it afterwards. Each measurement runs in its
own process. Resident memory includes the touched pages of memory-mapped weights; peaks of stages are those so far.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np

from soundloom.checkpoints.stable_audio.open import WEIGHTS_FILE
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.progress import Progress, host_peak
from soundloom.pipeline.stable_audio.model import Model

MB = 1e6
Peaks = dict[str, int]  # bytes by stage


def generate(model: Model, seconds: float) -> Peaks:
    """Generate a clip in 8 steps; return the peak up to the end of each stage."""
    peaks: Peaks = {}

    def listen(progress: Progress) -> None:
        if progress.host_bytes is not None:
            peaks[progress.stage] = progress.host_bytes

    model.generate("kick drum loop, 120 BPM", seconds=seconds, steps=8, seed=0, progress=listen)
    return peaks


def decode(model: Model, seconds: float) -> Peaks:
    """Decode to one array of 0.35 MB per second."""
    model.decode(latents(model, seconds))
    return {}


def decode_stream(model: Model, seconds: float) -> Peaks:
    """Decode chunk by chunk, and discard the chunks."""
    for _ in model.decode_stream(latents(model, seconds)):
        pass
    return {}


def latents(model: Model, seconds: float) -> np.ndarray:
    config = model.checkpoint.config.same
    frames = round(seconds * model.sample_rate / config.downsampling_ratio)
    return np.random.default_rng(0).standard_normal((config.latent_dim, frames), np.float32)


MEASUREMENTS: dict[str, tuple[str, Callable[[Model], Peaks]]] = {
    "generate 10 s": ("small-music", partial(generate, seconds=10)),
    "same-l decode 30 s": ("same-l", partial(decode, seconds=30)),
    **{
        f"same-{size} {function.__name__} {seconds} s": (model, partial(function, seconds=seconds))
        for size, model in (("s", "small-music"), ("l", "same-l"))
        for function in (decode_stream, decode)
        for seconds in (60, 380)
    },
}


def measure(name: str, work: Path) -> None:
    """Run one measurement in this process, and print its figures as JSON."""
    model_name, run = MEASUREMENTS[name]
    began = time.perf_counter()
    stages = run(load_stable_audio(work / model_name, device="cpu", precision="fp32", keep_bad=True))
    print(json.dumps({"seconds": time.perf_counter() - began, "peak": host_peak(), "stages": stages}))


def measure_apart(names: list[str], work: Path) -> Iterator[str]:
    """Run each measurement in a new process, and yield a line about it."""
    for name in names:
        model_name = MEASUREMENTS[name][0]
        if not (work / model_name / WEIGHTS_FILE).exists():
            run_python("-m", "soundloom.testing.stable_audio", model_name, str(work / model_name))
        figures = json.loads(run_python(__file__, "--measure", name, "--work", str(work)).splitlines()[-1])
        stages = "".join(f", {stage} {peak / MB:.0f}" for stage, peak in figures["stages"].items())
        yield f"{name:28} peak {figures['peak'] / MB:5.0f} MB{stages}   ({figures['seconds']:.0f} s)"


def run_python(*arguments: str) -> bytes:
    """Run a Python process, and return its output."""
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="comma-separated patterns of measurements")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "soundloom-benchmarks")
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.work)
        return
    names = [name for name in MEASUREMENTS if any(fnmatch(name, pattern) for pattern in args.only.split(","))]
    for line in measure_apart(names, args.work):
        print(line, flush=True)


if __name__ == "__main__":
    main()
