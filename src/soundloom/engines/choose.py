"""Which engine runs here. An engine's framework is imported only when it is chosen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from soundloom.engines.base import Engine
from soundloom.errors import EngineError

# Name of an engine: its framework as people and as Python know it, the module and the class.
ENGINES = {
    "torch": ("PyTorch", "torch", "soundloom.engines.torch.engine", "TorchEngine"),
    "mlx": ("MLX", "mlx", "soundloom.engines.mlx.engine", "MLXEngine"),
}


def engine_class(name: str = "auto") -> Callable[..., Engine]:
    """Return the class of an engine; "auto" is PyTorch's if it is installed, but MLX's where that has a Metal GPU.

    Raises EngineError for an unknown name and for a framework that is not installed.
    """
    if name != "auto" and name not in ENGINES:
        raise EngineError(f"no engine named {name!r}", f"known: auto, {', '.join(ENGINES)}")
    if name == "auto":
        candidates = ["mlx", "torch"] if _has_metal() else ["torch", "mlx"]
    else:
        candidates = [name]
    for candidate in candidates:
        found = _import(candidate)
        if found is not None:
            return found
    missing = " nor ".join(ENGINES[candidate][0] for candidate in candidates)
    hint = " or ".join(f"pip install 'soundloom[{candidate}]'" for candidate in candidates)
    raise EngineError(f"neither {missing} is installed" if name == "auto" else f"{missing} is not installed", hint)


def _import(name: str) -> Callable[..., Engine] | None:
    """Return the class of an engine, None where its framework is not installed."""
    _, package, module, cls = ENGINES[name]
    try:
        engine: Callable[..., Engine] = getattr(import_module(module), cls)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        return None
    return engine


def _has_metal() -> bool:
    if sys.platform != "darwin":
        return False
    try:
        import mlx.core as mx
    except ModuleNotFoundError:
        return False
    return bool(mx.metal.is_available())
