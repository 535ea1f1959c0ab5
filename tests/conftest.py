"""A tiny checkpoint with random weights in the published layout, shared by most tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soundloom.engines.threads import shorten_waits

shorten_waits()  # before any test imports PyTorch
# NumPy's BLAS threads spin while they wait: beside other programs, small decompositions take ten times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is first imported
os.environ["SOUNDLOOM_OUTPUT"] = "none"  # servers of tests put no files into the music folder


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collection: it takes a third of the time, and finds nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small-music checkpoint folder at tiny width, with its text encoder."""
    from soundloom.testing.stable_audio import make_random

    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_random("small-music", folder, layout="published", size="tiny")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_model_folder: Path) -> Any:
    """Return the tiny checkpoint as a model that keeps its networks loaded."""
    from soundloom import load

    return load(tiny_model_folder, keep_loaded=True)
