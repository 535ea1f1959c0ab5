"""Measure `soundloom eval set` on many clips: time, memory by their number, and a killed run that goes on.

    python benchmarks/eval_set.py [--clips 2000] [--seconds 5] [--embedder log-mel]

Renders two sets of synthetic sounds, measures a quarter of them and all of them with an empty cache, then kills a run
half way and lets a second one finish; its figures must equal those of the whole run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import numpy as np
import soundfile

from soundloom.datasets.synthetic import FAMILIES, SAMPLE_RATE, family_prompts, render


def write_sounds(folder: Path, clips: int, seconds: float, seed: int) -> None:
    folder.mkdir(parents=True)
    for number, prompt in enumerate(family_prompts(FAMILIES, clips, seed, seconds, False, False, 0)):
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        audio = render(prompt.reference_labels, seconds, rng)
        soundfile.write(folder / f"{number:05d}.flac", audio.T, SAMPLE_RATE, subtype="PCM_16")


@dataclass
class Result:
    seconds: float
    peak_mib: float
    metrics: dict[str, float]


def measure(sounds: Path, reference: Path, out: Path, cache: Path, embedder: str, kill_after: float = 0) -> Result:
    """Run the command; with `kill_after`, kill it after these seconds."""
    command = [sys.executable, "-m", "soundloom", "eval", "set", str(sounds), "--reference", str(reference)]
    command += ["--embedder", embedder, "--allow-small", "--json", "-q", "-o", str(out)]
    start = time.perf_counter()
    process = Popen(command, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "SOUNDLOOM_CACHE": str(cache)})
    if kill_after:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    text = process.stdout.read() if process.stdout else b""
    usage = os.wait4(process.pid, 0)[2]
    process.returncode = 0
    metrics = {one["name"]: one["value"] for one in json.loads(text)["metrics"]} if text else {}
    return Result(time.perf_counter() - start, usage.ru_maxrss / 1024, metrics)


def quarter_of(folder: Path, out: Path) -> Path:
    out.mkdir()
    files = sorted(folder.iterdir())
    for path in files[: len(files) // 4]:
        (out / path.name).symlink_to(path)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--embedder", default="log-mel")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, seed in (("sounds", 1), ("reference", 2)):
            write_sounds(folder / side, args.clips, args.seconds, seed)
        sides = (folder / "sounds", folder / "reference")
        quarters = [quarter_of(side, folder / f"{side.name}-quarter") for side in sides]
        part = measure(*quarters, folder / "out1", folder / "cache1", args.embedder)
        whole = measure(*sides, folder / "out2", folder / "cache2", args.embedder)
        print(f"{args.clips // 4} clips a side: {part.seconds:.1f} s, peak {part.peak_mib:.0f} MiB")
        print(f"{args.clips} clips a side: {whole.seconds:.1f} s, peak {whole.peak_mib:.0f} MiB")
        measure(*sides, folder / "out3", folder / "cache3", args.embedder, kill_after=whole.seconds / 2)
        resumed = measure(*sides, folder / "out3", folder / "cache3", args.embedder)
        print(f"killed after {whole.seconds / 2:.1f} s; the second run took {resumed.seconds:.1f} s")
        print("equal figures" if resumed.metrics == whole.metrics else "FIGURES DIFFER")
        for metric, value in whole.metrics.items():
            print(f"  {metric}: {value:.4f}")


if __name__ == "__main__":
    main()
