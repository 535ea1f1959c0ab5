"""Format figures as a table, a plot, or changes since an earlier run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from soundloom.bench.cases import Figures
from soundloom.bench.plot import line_plot
from soundloom.errors import CorruptFileError, RequestError

HEADER = ("case", "first step", "cold", "warm", "text", "sample", "decode", "x real time", "peak RSS")


def table(results: Sequence[Figures]) -> list[str]:
    """Return the lines of a table, in seconds except for the last two columns; stages are those of warm runs if any."""
    rows = [HEADER, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _row(result: Figures) -> tuple[str, ...]:
    cold, warm = result["cold"], result.get("warm")
    stages = (warm or cold)["stages"]
    return (
        result["case"],
        f"{cold['first_step']:.2f}",
        f"{cold['seconds']:.2f}",
        f"{warm['seconds']:.2f}" if warm else "-",
        *(f"{stages[name]:.2f}" for name in ("text", "sample", "decode")),
        f"{warm['times_real_time']:.2f}" if warm else "-",
        f"{result['peak']['host'] / 1e6:.0f} MB",
    )


def plot(results: Sequence[Figures]) -> str:
    """Return an SVG plot of seconds over clip length, with a line per model and precision."""
    series: dict[str, list[tuple[float, float]]] = {}
    for result in sorted(results, key=lambda result: result["seconds"]):
        for kind in ("cold", "warm"):
            if kind in result:
                name = f"{result['model']} {result['precision']}, {kind}"
                series.setdefault(name, []).append((result["seconds"], result[kind]["seconds"]))
    return line_plot(series, "Time to generate a clip", "length of the clip, s", "time, s")


def ratio_line(name: str, figures: Mapping[str, float]) -> str:
    """Format the comparison of soundloom with another program."""
    line = (
        f"{name}: soundloom {figures['ours']:.2f} s, other {figures['theirs']:.2f} s, "
        f"{figures['times_as_fast']:.2f} times as fast"
    )
    if "times_the_memory" not in figures:
        return line
    own, other = figures["our_bytes"] / 2**20, figures["their_bytes"] / 2**20
    return f"{line}; peak {own:.0f} and {other:.0f} MiB, {figures['times_the_memory']:.2f} times the memory"


def read_baseline(baseline: Path) -> dict[str, Figures]:
    """Return the results of an earlier run by case. Raises RequestError or CorruptFileError."""
    if not baseline.is_file():
        raise RequestError(f"there is no baseline {baseline}", "create one with --save FILE")
    try:
        return {result["case"]: result for result in json.loads(baseline.read_text())["results"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{baseline} is not a baseline: {error}", "create one with --save FILE") from error


def compare(results: Sequence[Figures], earlier: Mapping[str, Figures]) -> list[str]:
    """Return a line per case with the ratios of seconds and memory to the earlier run."""
    lines = []
    for result in results:
        then = earlier.get(result["case"])
        if then is None:
            lines.append(f"{result['case']}: not in the baseline")
            continue
        kind = "warm" if "warm" in result and "warm" in then else "cold"
        time = result[kind]["seconds"] / then[kind]["seconds"]
        memory = result["peak"]["host"] / then["peak"]["host"]
        lines.append(f"{result['case']}: {time:.2f} times the {kind} seconds, {memory:.2f} times the memory")
    return lines
