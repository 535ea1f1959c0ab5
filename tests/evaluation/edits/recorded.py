"""Recorded measures of edits, from published functions or high-precision arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.case import Case

PATH = Path(__file__).parents[2] / "golden" / "metrics.json"


def recorded(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a call, and its inputs and outputs by name."""
    if not PATH.is_file():
        pytest.skip("the recorded metrics are not here")
    case = Case(PATH)
    call = next(call for call in case.calls if call["name"] == name)
    return call, {key: case.tensor(path) for key, path in {**call["inputs"], **call["outputs"]}.items()}
