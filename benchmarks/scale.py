"""Measure how the time of a clip grows with length, batch size, and steps, and plot it.

    OMP_NUM_THREADS=2 python benchmarks/scale.py [--axes seconds batch steps] [--steps 8] [--out FOLDER]

Uses small-music at full size with random weights, beyond its limit of 120 s. Networks stay loaded; each point is one
clip or batch after a short warm-up. Writes scale-AXIS.svg and scale-AXIS.json.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.bench.cases import machine, require_weights, weights_folder
from soundloom.bench.plot import line_plot
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.progress import Progress
from soundloom.pipeline.stable_audio.model import Model

AXES: dict[str, tuple[float, ...]] = {
    "seconds": (5, 10, 30, 60, 120, 380),
    "batch": (1, 2, 4, 8, 16),
    "steps": (1, 2, 4, 8, 16),
}
MAX_SECONDS = 400  # seconds
PROMPT = "kick drum loop, 120 BPM"


def long_model(work: Path, precision: str) -> Model:
    """Open small-music without its length limit."""
    model = load_stable_audio(
        require_weights("small-music", work), precision=precision, keep_loaded=True, keep_bad=True
    )
    model.checkpoint = replace(
        model.checkpoint, config=replace(model.config, sample_size=MAX_SECONDS * model.config.sample_rate)
    )
    return model


def measure(model: Model, axis: str, value: float, steps: int) -> dict[str, float]:
    """Return seconds of each stage and peak memory for 30 s of audio (5 s for batches)."""
    with suppress(OSError):  # elsewhere than on Linux, the peak includes earlier points
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak of this process
    figures: dict[str, float] = {}

    def listen(progress: Progress) -> None:
        if progress.finished:
            figures[progress.stage] = progress.seconds
            figures["megabytes"] = max(figures.get("megabytes", 0), (progress.host_bytes or 0) / 1e6)

    settings = {"seconds": 5.0 if axis == "batch" else 30.0, "steps": steps, "batch": 1} | {axis: value}
    prompts = [PROMPT] * int(settings["batch"])
    model.generate(prompts, seconds=settings["seconds"], steps=int(settings["steps"]), seed=0, progress=listen)
    return figures


def series(axis: str, work: Path, precision: str, steps: int) -> Iterator[dict[str, float]]:
    model = long_model(work, precision)
    model.generate(PROMPT, seconds=5, steps=1, seed=0)
    for value in AXES[axis]:
        yield {axis: value, **measure(model, axis, value, steps)}


def plot(axis: str, rows: list[dict[str, float]]) -> str:
    lines = {f"{stage}, s": [(row[axis], row[stage]) for row in rows] for stage in ("sample", "decode")}
    return line_plot(lines, f"small-music: cost over {axis}", axis, "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--steps", type=int, default=8, help="steps on other axes")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--work", type=Path, default=weights_folder())
    parser.add_argument("--out", type=Path, default=Path())
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("soundloom").setLevel(logging.ERROR)  # random weights clip, and every clip says so
    for axis in args.axes:
        rows: list[dict[str, Any]] = []
        for row in series(axis, args.work, args.precision, args.steps):
            rows.append(row)
            print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
        (args.out / f"scale-{axis}.svg").write_text(plot(axis, rows))
        (args.out / f"scale-{axis}.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
