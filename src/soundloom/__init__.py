"""Text to 44.1 kHz stereo sound, and sound edited with words, on your own machine.

    import soundloom

    model = soundloom.load("mini")
    model.generate("kick drum loop, 129 BPM", seconds=4, seed=7).save("kick.wav")

Importing this package costs next to nothing: everything below loads when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from soundloom.version import __version__

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip
    from soundloom.config.models import ShiftConfig
    from soundloom.config.requests import Compat, GenerationRequest, Guidance, bars
    from soundloom.errors import SoundloomError
    from soundloom.pipeline.load import load
    from soundloom.pipeline.model import Model
    from soundloom.pipeline.music import MusicModel
    from soundloom.pipeline.stages import Progress

_HOMES = {
    "Clip": "audio.clip",
    "Compat": "config.requests",
    "GenerationRequest": "config.requests",
    "Guidance": "config.requests",
    "Model": "pipeline.model",
    "MusicModel": "pipeline.music",
    "Progress": "pipeline.stages",
    "ShiftConfig": "config.models",
    "SoundloomError": "errors",
    "bars": "config.requests",
    "load": "pipeline.load",
}

__all__ = [
    "Clip",
    "Compat",
    "GenerationRequest",
    "Guidance",
    "Model",
    "MusicModel",
    "Progress",
    "ShiftConfig",
    "SoundloomError",
    "__version__",
    "bars",
    "load",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # type checkers know each name from above, and should refuse any other

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
