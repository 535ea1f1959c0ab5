"""Print the peak resident memory and the time of editing and encoding long audio files with `mini`.

    OMP_NUM_THREADS=2 python benchmarks/long_files.py [--minutes 60] [--kinds wav,flac,mp3] [--work FOLDER]

Missing files are generated in the folder; delete it afterwards. Each measurement runs the command in its own process,
from the first import to the saved file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from soundloom.cli.main import main as soundloom
from soundloom.pipeline import progress as stages

RATE, CHANNELS = 44100, 2
MB = 1e6
SUBTYPES = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III"}
PROMPT = "kick drum loop, 120 BPM"


def make_file(path: Path, seconds: float) -> None:
    """Write a file of stereo noise, unless it exists."""
    if path.exists():
        return
    random = np.random.default_rng(0)
    subtype = SUBTYPES[path.suffix[1:]]
    with soundfile.SoundFile(path, "w", RATE, CHANNELS, subtype=subtype) as file:
        for _ in range(round(seconds)):
            file.write(random.uniform(-0.3, 0.3, (RATE, CHANNELS)).astype(np.float32))


def commands(path: Path, seconds: float) -> dict[str, list[str]]:
    """Return the measured commands by name; an MP3 file is edited to a WAV file, the default."""
    out = path.with_name(f"{path.stem}-out{'.wav' if path.suffix == '.mp3' else path.suffix}")
    edit = [str(path), PROMPT, "--seed", "1", "-o", str(out), "--quiet"]
    middle = f"{seconds / 2:g},{seconds / 2 + 2:g}"
    return {
        "inpaint 2 s": ["inpaint", *edit, "--region", middle],
        "inpaint 2 s, --lufs -16": ["inpaint", *edit, "--region", middle, "--lufs", "-16"],
        "extend by 1 s": ["extend", *edit, "--seconds", "1"],
        "extend by 12 s": ["extend", *edit, "--seconds", "12"],
        "encode": ["encode", str(path), "-o", str(path.with_suffix(".npy"))],
    }


def measure(command: list[str]) -> dict[str, float]:
    """Run a command in a new process; return its peak memory in bytes, and its seconds."""
    run = subprocess.run([sys.executable, __file__, "--measure", *command], check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


def measure_here(command: list[str]) -> None:
    """Run a command in this process, and print its figures as JSON."""
    stages.reset_host_peak = lambda: None  # stages would forget what came before them
    began = time.perf_counter()
    code = soundloom(command)
    print(json.dumps({"seconds": time.perf_counter() - began, "peak": stages.host_peak()}))
    sys.exit(code)


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure_here(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kinds", default="wav,flac", help="wav, flac, or mp3, which takes minutes to encode")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "soundloom-long-files")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    seconds = 60 * args.minutes
    print(f"{args.minutes:g} minutes of stereo at {RATE} Hz are {seconds * RATE * CHANNELS * 4 / MB:.0f} MB as float32")
    for kind in args.kinds.split(","):
        path = args.work / f"{args.minutes:g}-minutes.{kind}"
        make_file(path, seconds)
        for name, command in commands(path, seconds).items():
            figures = measure(command)
            print(f"{kind:5} {name:24} peak {figures['peak'] / MB:5.0f} MB   {figures['seconds']:4.0f} s", flush=True)


if __name__ == "__main__":
    main()
