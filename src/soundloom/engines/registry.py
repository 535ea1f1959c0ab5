"""Choose an engine by name; its framework is imported only then."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from soundloom.engines.threads import check_threads, import_torch, set_threads
from soundloom.errors import EngineError

if TYPE_CHECKING:
    from soundloom.engines.musicgen import MusicEngine
    from soundloom.engines.stable_audio import Engine

# Engine name: the framework's name and its Python package.
ENGINES = {"torch": ("PyTorch", "torch"), "mlx": ("MLX", "mlx")}
# The modules and classes of the engines of Stable Audio and MusicGen.
_AUDIO = {
    "torch": ("soundloom.engines.torch.stable_audio.engine", "TorchEngine"),
    "mlx": ("soundloom.engines.mlx.stable_audio.engine", "MLXEngine"),
}
_MUSIC = {
    "torch": ("soundloom.engines.torch.musicgen.engine", "TorchMusicEngine"),
    "mlx": ("soundloom.engines.mlx.musicgen.engine", "MLXMusicEngine"),
}
# The function that chooses or checks a device.
_DEVICES = {
    "torch": ("soundloom.engines.torch.components", "choose_device"),
    "mlx": ("soundloom.engines.mlx.components", "choose_device"),
}


def engine_class(name: str = "auto") -> Callable[..., Engine]:
    """Return the class of a Stable Audio engine; "auto" prefers MLX with a Metal GPU, PyTorch otherwise.

    Raises EngineError for an unknown name or a framework that is not installed.
    """
    return _choose(name, _AUDIO)


def music_engine_class(name: str = "auto") -> Callable[..., MusicEngine]:
    """Return the class of a MusicGen engine; see `engine_class`."""
    return _choose(name, _MUSIC)


def engine_name(name: str = "auto") -> str:
    """Return the name of the engine that "auto" stands for, or the name that is given; raises as `engine_class`."""
    return _find(name, _DEVICES)[0]


def require_device(engine: str = "auto", device: str | None = None) -> None:
    """Raise EngineError for an unavailable engine or device, before gigabytes of weights are fetched."""
    _choose(engine, _DEVICES)(device)


def use_threads(engine: str, count: int | None) -> None:
    """Set the CPU threads of an engine, for the whole process; None keeps their number. Raises RequestError."""
    if count is not None:
        check_threads(count)
        set_threads(_find(engine, _DEVICES)[0], count)


def _choose(name: str, classes: Mapping[str, tuple[str, str]]) -> Any:
    return _find(name, classes)[1]


def _find(name: str, classes: Mapping[str, tuple[str, str]]) -> tuple[str, Any]:
    """Return the name of the chosen engine, and its class or function."""
    if name != "auto" and name not in ENGINES:
        raise EngineError(f"no engine named {name!r}", f"known: auto, {', '.join(ENGINES)}")
    if name == "auto":
        candidates = ["mlx", "torch"] if _has_metal() else ["torch", "mlx"]
    else:
        candidates = [name]
    for candidate in candidates:
        found = _import(candidate, *classes[candidate])
        if found is not None:
            return candidate, found
    missing = " nor ".join(ENGINES[candidate][0] for candidate in candidates)
    hint = " or ".join(f"pip install 'soundloom[{candidate}]'" for candidate in candidates)
    raise EngineError(f"neither {missing} is installed" if name == "auto" else f"{missing} is not installed", hint)


def _import(name: str, module: str, cls: str) -> Any:
    """Return an attribute of a module, None if the engine's framework is not installed."""
    try:
        with _importing(module):
            if name == "torch":
                import_torch()
            return getattr(import_module(module), cls)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != ENGINES[name][1]:
            raise
        return None


@contextmanager
def _importing(module: str) -> Iterator[None]:
    """Disable garbage collection while importing a framework, and exclude its objects from later collections.

    PyTorch creates a quarter of a million objects; collecting among them takes an eighth of its import time.
    """
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _has_metal() -> bool:
    if sys.platform != "darwin":
        return False
    try:
        import mlx.core as mx
    except ModuleNotFoundError:
        return False
    return bool(mx.metal.is_available())
