"""Which engine is chosen, by what is installed."""

import sys

import pytest

from soundloom.engines.registry import engine_class
from soundloom.errors import EngineError


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*packages):
        for package in packages:
            for module in [name for name in sys.modules if f".engines.{package}" in name]:
                monkeypatch.delitem(sys.modules, module)
            monkeypatch.setitem(sys.modules, package, None)

    return hide


def test_pytorch_comes_first_where_mlx_has_no_gpu():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if sys.platform == "darwin":
        pytest.skip("MLX has a GPU here")
    assert engine_class("auto").__name__ == "TorchEngine"


def test_mlx_serves_where_pytorch_is_not_installed(without):
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    without("torch")
    assert engine_class("auto").__name__ == "MLXEngine"


@pytest.mark.parametrize(
    ("name", "message"),
    [("torch", "PyTorch is not installed"), ("mlx", "MLX is not installed"), ("auto", "neither PyTorch nor MLX")],
)
def test_an_engine_that_is_not_installed_is_named_with_the_command_that_installs_it(without, name, message):
    without("torch", "mlx")
    with pytest.raises(EngineError, match=message) as caught:
        engine_class(name)
    assert "pip install" in caught.value.hint


def test_unknown_engines_are_answered_with_the_known_ones():
    with pytest.raises(EngineError, match="no engine named 'jax'") as caught:
        engine_class("jax")
    assert caught.value.hint == "known: auto, torch, mlx"
