"""A base model with random weights, and sounds to train on."""

from pathlib import Path

import pytest

from soundloom.testing.stable_audio import make_random
from tests.training.lora.runs import write_sounds


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return make_random("small-music-base", tmp_path_factory.mktemp("models") / "base", size="tiny")


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> Path:
    return write_sounds(tmp_path_factory.mktemp("sounds"))
