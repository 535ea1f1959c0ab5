"""Print the time of `import soundloom` in a new interpreter, next to that of an empty interpreter.

python benchmarks/import_time.py [--runs 10]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median


def seconds_to_run(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    args = parser.parse_args()
    for code in ("pass", "import soundloom"):
        seconds_to_run(code)  # bytecode and disk caches are not what is measured
        times = [seconds_to_run(code) for _ in range(args.runs)]
        print(f"python -c {code!r:18} median of {args.runs}: {median(times) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
