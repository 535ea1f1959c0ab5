"""Generate and edit 44.1 kHz stereo audio from text prompts, on your own machine.

    import soundloom

    model = soundloom.load("mini")
    model.generate("kick drum loop, 129 BPM", seconds=4, seed=7).save("kick.wav")

Importing this package is fast: everything below loads when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from soundloom.version import __version__

if TYPE_CHECKING:
    from soundloom.audio.clip import Clip
    from soundloom.client.asynchronous import AsyncClient
    from soundloom.client.synchronous import Client
    from soundloom.config.prompt_templates import prompt_template
    from soundloom.config.random_prompts import random_prompt
    from soundloom.config.stable_audio.model import ShiftConfig
    from soundloom.config.stable_audio.request import Compat, GenerationRequest, Guidance, bars
    from soundloom.errors import SoundloomError
    from soundloom.pipeline.load import load
    from soundloom.pipeline.musicgen.model import MusicModel
    from soundloom.pipeline.progress import Progress
    from soundloom.pipeline.stable_audio.model import Model

_HOMES = {
    "AsyncClient": "client.asynchronous",
    "Client": "client.synchronous",
    "Clip": "audio.clip",
    "Compat": "config.stable_audio.request",
    "GenerationRequest": "config.stable_audio.request",
    "Guidance": "config.stable_audio.request",
    "Model": "pipeline.stable_audio.model",
    "MusicModel": "pipeline.musicgen.model",
    "Progress": "pipeline.progress",
    "ShiftConfig": "config.stable_audio.model",
    "SoundloomError": "errors",
    "bars": "config.stable_audio.request",
    "load": "pipeline.load",
    "prompt_template": "config.prompt_templates",
    "random_prompt": "config.random_prompts",
}

__all__ = [
    "AsyncClient",
    "Client",
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
    "prompt_template",
    "random_prompt",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # type checkers know the names from above, and should reject any other

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
