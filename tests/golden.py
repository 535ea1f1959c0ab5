"""Run recorded cases of the published code: python tests/golden.py DIR [--engine torch] [--only 'dit_*,same_*'].

Prints the largest error of each output, relative to its peak, and the tolerance; exits with 1 if any error exceeds it.
A case is NAME.json with NAME.safetensors; sizes, seeds and options come from these files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.parity.adapter import ADAPTERS
from tests.parity.case import Case, Check, compare
from tests.parity.registry import runner_for


def run_case(path: Path, engine: str) -> Iterator[Check]:
    """Yield the checks of all outputs of one case."""
    case = Case(path)
    run = runner_for(case, ADAPTERS[engine]())
    for call in case.calls:
        found = run(call)
        for output, key in call["outputs"].items():
            yield compare(call, output, found[output], case.tensor(key))


def cases(folder: Path, only: str = "*") -> list[Path]:
    """Return the cases of a folder whose names match one of the comma-separated patterns."""
    patterns = only.split(",")
    return sorted(path for path in folder.glob("*.json") if any(fnmatch(path.stem, p) for p in patterns))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=sorted(ADAPTERS), default="torch")
    parser.add_argument("--only", default="*", help="comma-separated patterns of case names")
    args = parser.parse_args()
    failed = total = 0
    for path in cases(args.folder, args.only):
        if not path.with_suffix(".safetensors").exists():
            continue
        try:
            checks = list(run_case(path, args.engine))
        except LookupError as error:
            print(f"skip {path.stem}: {error}")
            continue
        for check in checks:
            verdict = "ok  " if check.passed else "FAIL"
            print(
                f"{verdict} {path.stem:16} {check.call:32} {check.output:16} "
                f"error {check.error:.2e}  tolerance {check.tolerance:.2e} {check.note}"
            )
            failed += not check.passed
            total += 1
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
