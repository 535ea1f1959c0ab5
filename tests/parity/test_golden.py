"""Run each recorded call of the published code on each installed engine; see tests/golden/README.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.adapter import ADAPTERS
from tests.parity.case import Case, compare
from tests.parity.registry import runner_for

FOLDER = Path(__file__).parent.parent / "golden"
CASES = {path.stem: Case(path) for path in sorted(FOLDER.glob("*.json"))}
CALLS = [(name, call["name"]) for name, case in CASES.items() for call in case.calls]


def engine_if_installed(engine: str) -> Any:
    missing = pytest.mark.skipif(find_spec(engine) is None, reason=f"{engine} is not installed")
    return pytest.param(engine, marks=missing)


@cache
def runner(name: str, engine: str) -> Callable[[dict[str, Any]], dict[str, np.ndarray]]:
    """Return a cached runner of a case, which loads weights once."""
    return runner_for(CASES[name], ADAPTERS[engine]())


@pytest.mark.parametrize("engine", [engine_if_installed(engine) for engine in sorted(ADAPTERS)])
@pytest.mark.parametrize(("name", "call_name"), CALLS)
def test_outputs_equal_the_recorded_ones(name: str, call_name: str, engine: str) -> None:
    case = CASES[name]
    call = next(call for call in case.calls if call["name"] == call_name)
    found = runner(name, engine)(call)
    wanted = {output: case.tensor(key) for output, key in call["outputs"].items()}
    checks = [compare(call, output, found[output], record) for output, record in wanted.items()]
    assert checks, "the record has no outputs"
    assert [check for check in checks if not check.passed] == []


def test_every_case_is_complete() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(CASES)
