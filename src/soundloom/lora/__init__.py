"""LoRA adapters: their files, their arithmetic, and what engines compute beside the weights; NumPy only.

    import soundloom.lora

    adapter = soundloom.lora.read("style.safetensors")
    model.set_loras(soundloom.lora.mix("warm.safetensors", "lofi.safetensors", 0.3))

Importing this package is fast: everything loads when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse, mix
    from soundloom.lora.adapter import Adapter, ModuleAdapter
    from soundloom.lora.files.find import find_adapter, list_adapters, read
    from soundloom.lora.files.write import write_adapter
    from soundloom.lora.operations.combine import combine_exactly, combine_for
    from soundloom.lora.operations.convert import to_lora
    from soundloom.lora.operations.extract import extract
    from soundloom.lora.operations.resize import resize

_HOMES = {
    "Adapter": "lora.adapter",
    "AdapterStack": "config.stable_audio.adapters",
    "AdapterUse": "config.stable_audio.adapters",
    "ModuleAdapter": "lora.adapter",
    "combine_exactly": "lora.operations.combine",
    "combine_for": "lora.operations.combine",
    "extract": "lora.operations.extract",
    "find_adapter": "lora.files.find",
    "list_adapters": "lora.files.find",
    "mix": "config.stable_audio.adapters",
    "read": "lora.files.find",
    "resize": "lora.operations.resize",
    "to_lora": "lora.operations.convert",
    "write_adapter": "lora.files.write",
}

__all__ = [
    "Adapter",
    "AdapterStack",
    "AdapterUse",
    "ModuleAdapter",
    "combine_exactly",
    "combine_for",
    "extract",
    "find_adapter",
    "list_adapters",
    "mix",
    "read",
    "resize",
    "to_lora",
    "write_adapter",
]


if not TYPE_CHECKING:  # type checkers know the names from above, and should reject any other

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"soundloom.{_HOMES[name]}"), name)
