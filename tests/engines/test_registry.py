"""The choice of an engine by name and installed frameworks."""

import sys

import pytest

from soundloom.engines.registry import engine_class
from soundloom.errors import EngineError


@pytest.fixture
def without(monkeypatch):
    """Hide installed packages."""

    def hide(*packages):
        for package in packages:
            for module in [name for name in sys.modules if f".engines.{package}" in name]:
                monkeypatch.delitem(sys.modules, module)
            monkeypatch.setitem(sys.modules, package, None)

    return hide


def test_auto_prefers_pytorch_unless_mlx_has_a_gpu():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if sys.platform == "darwin":
        pytest.skip("MLX has a GPU here")
    assert engine_class("auto").__name__ == "TorchEngine"


def test_auto_is_mlx_if_pytorch_is_not_installed(without):
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    without("torch")
    assert engine_class("auto").__name__ == "MLXEngine"


@pytest.mark.parametrize(
    ("name", "message"),
    [("torch", "PyTorch is not installed"), ("mlx", "MLX is not installed"), ("auto", "neither PyTorch nor MLX")],
)
def test_a_missing_framework_is_reported_with_its_install_command(without, name, message):
    without("torch", "mlx")
    with pytest.raises(EngineError, match=message) as caught:
        engine_class(name)
    assert "pip install" in caught.value.hint


def test_unknown_engines_are_rejected_with_the_known_names():
    with pytest.raises(EngineError, match="no engine named 'jax'") as caught:
        engine_class("jax")
    assert caught.value.hint == "known: auto, torch, mlx"
