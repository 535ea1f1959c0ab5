from __future__ import annotations

import pytest

from tests.robustness.mutators.models import STABLE, make_model


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Return a function that creates a tiny model in a layout once."""
    root, made = tmp_path_factory.mktemp("f"), {}

    def make(layout):
        if layout not in STABLE:
            pytest.importorskip("torch", reason="PyTorch, which writes some of the layouts, is not installed")
        if layout not in made:
            made[layout] = make_model(layout, root / layout)
        return made[layout]

    return make
