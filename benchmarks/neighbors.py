"""Compare OpenMP wait policies on an idle machine and beside busy processes.

    python benchmarks/neighbors.py [--model mini] [--seconds 4] [--steps 8]
        [--policies default PASSIVE 10000] [--busy 0 1 2] [--turns 3]

In state N, N Python processes loop forever. In each state, one process for each policy loads the model and generates a
warm-up clip. The processes then take `--turns` turns, while the others wait. A clip during which other programs ran too
is generated again. Prints the median seconds of sampling and decoding, and their ratio to the first state.

A policy is `default` (nothing is set), a value of OMP_WAIT_POLICY, a number for GOMP_SPINCOUNT, or `soundloom` for what
the package sets by itself. `@N` after a policy sets `threads`, so `soundloom@1` is that policy with one thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from soundloom.bench.busy import busy_processes
from soundloom.bench.cases import require_weights, weights_folder
from soundloom.engines.threads import COUNT_VARIABLES, WAIT_VARIABLES

PROMPT = "kick drum loop, 129 BPM"
STAGES = ("sample", "decode")
DISTURBED, TRIES = 0.04, 3  # cores that other programs use during a clip; how often such a clip is measured again
Times = dict[tuple[str, int], list[dict[str, float]]]


def serve(model: str, seconds: float, steps: int, threads: int | None) -> None:
    """Generate a clip for each line of stdin, and print the seconds of its stages."""
    import soundloom

    logging.disable(logging.WARNING)  # random weights are far over full scale
    folder = model if model == "mini" else require_weights(model, weights_folder())
    loaded = soundloom.load(folder, keep_loaded=True, keep_bad=True, threads=threads)

    def generate() -> dict[str, float]:
        found: dict[str, float] = {}

        def note(progress: soundloom.Progress) -> None:
            if progress.finished:
                found[progress.stage] = progress.seconds

        loaded.generate(PROMPT, seconds=seconds, steps=steps, seed=0, progress=note)
        return found

    generate()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(generate()), flush=True)


def start(policy: str, args: argparse.Namespace) -> subprocess.Popen[str]:
    """Start a process that serves clips under a policy, and wait until it is warm."""
    name, _, threads = policy.partition("@")
    environment = {key: value for key, value in os.environ.items() if key not in (*WAIT_VARIABLES, *COUNT_VARIABLES)}
    if name == "default":
        environment["KMP_BLOCKTIME"] = "200"  # libgomp ignores it, and the package then sets nothing
    elif name.isdecimal():
        environment["GOMP_SPINCOUNT"] = name
    elif name != "soundloom":
        environment["OMP_WAIT_POLICY"] = name
    command = [sys.executable, __file__, "--serve", "--model", args.model, "--seconds", str(args.seconds)]
    command += ["--steps", str(args.steps), "--threads", threads]
    server = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    if server.stdout.readline() != "ready\n":
        raise SystemExit(f"the process of {policy} failed")
    return server


def clip_times(server: subprocess.Popen[str]) -> dict[str, float]:
    """Return the seconds of each stage of one clip."""
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    times: dict[str, float] = json.loads(server.stdout.readline())
    return times


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time that all processes of the machine except these have used."""
    user, nice, system = (int(value) for value in Path("/proc/stat").read_text().split()[1:4])
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    own = sum(int(field[11]) + int(field[12]) for field in fields)
    return (user + nice + system - own) / os.sysconf("SC_CLK_TCK")


def undisturbed(server: subprocess.Popen[str], neighbors: Sequence[subprocess.Popen[bytes]]) -> dict[str, float]:
    """Return the times of a clip during which nothing else ran; after TRIES, of the least disturbed one."""
    found: list[tuple[float, dict[str, float]]] = []
    for _ in range(TRIES):
        pids = [server.pid, *(neighbor.pid for neighbor in neighbors)]
        began, used = time.perf_counter(), cpu_seconds(pids)
        times = clip_times(server)
        found.append(((cpu_seconds(pids) - used) / (time.perf_counter() - began), times))
        if found[-1][0] < DISTURBED:
            break
    return min(found, key=lambda pair: pair[0])[1]


def measure(args: argparse.Namespace) -> Times:
    times: Times = defaultdict(list)
    for count in args.busy:
        with busy_processes(count) as neighbors:
            servers = {policy: start(policy, args) for policy in args.policies}
            try:
                for turn in range(args.turns):
                    for policy in args.policies if turn % 2 == 0 else args.policies[::-1]:
                        times[policy, count].append(undisturbed(servers[policy], neighbors))
            finally:
                for server in servers.values():
                    server.kill()
                    server.wait()
    return times


def table(times: Times, args: argparse.Namespace) -> list[str]:
    lines = ["| policy | busy | " + " | ".join(f"{stage}, s | ratio" for stage in STAGES) + " |"]
    lines.append("|---|--:|" + "--:|--:|" * len(STAGES))

    def seconds(policy: str, count: int, stage: str) -> float:
        return median(clip[stage] for clip in times[policy, count])

    for policy in args.policies:
        for count in args.busy:
            cells: list[Any] = [policy, count]
            for stage in STAGES:
                own = seconds(policy, count, stage)
                cells += [f"{own:.2f}", f"{own / seconds(policy, args.busy[0], stage):.2f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="mini, or a name whose random weights are generated")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--policies", nargs="+", default=["default", "PASSIVE", "soundloom"])
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, os.cpu_count() or 1])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--threads", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.model, args.seconds, args.steps, int(args.threads) if args.threads else None)
        return
    print(f"{args.model}, {args.seconds:g} s, {args.turns} turns, {os.cpu_count()} processors")
    print("\n".join(table(measure(args), args)))


if __name__ == "__main__":
    main()
