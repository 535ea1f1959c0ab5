"""The names of layers in adapter files, and the ways in which other programs write them."""

from __future__ import annotations

import re
from functools import lru_cache

from soundloom.lora.adapter import CONDITIONER, TRANSFORMER

# The parts of the transformer that hold linear layers or convolutions.
_PARTS = (
    "transformer",
    "to_cond_embed",
    "to_global_embed",
    "to_timestep_embed",
    "preprocess_conv",
    "postprocess_conv",
)
OWN_PREFIXES = ("", "model.", "conditioner.")  # before names of adapter files in adapters and in full checkpoints
_KEY = re.compile(r"(?P<layer>.+)\.parametrizations\.weight\.(?P<index>\d+)\.(?P<kind>\w+)")


def split_key(key: str) -> tuple[str, int, str] | None:
    """Split a native key into layer, index and kind; None for other keys."""
    match = _KEY.fullmatch(key)
    return (match["layer"], int(match["index"]), match["kind"]) if match else None


@lru_cache(maxsize=4096)
def split_prefix(layer: str) -> tuple[str, str] | None:
    """Split a layer's name in any wrapper into the wrapper's prefix and the name in adapter files.

    `diffusion.model.model.to_cond_embed.0` is `diffusion.model.` and `model.to_cond_embed.0`. None for unknown layers.
    """
    parts = layer.split(".")
    for place in reversed(range(len(parts))):
        rest = ".".join(parts[place:])
        if parts[place] == CONDITIONER.removesuffix(".") and place + 1 < len(parts):
            return "".join(f"{part}." for part in parts[:place]), rest
        if parts[place] in _PARTS:
            outer = parts[: place - 1] if place and parts[place - 1] == "model" else parts[:place]
            return "".join(f"{part}." for part in outer), TRANSFORMER + rest
    return None


def native_name(layer: str) -> str | None:
    """Return the name in adapter files of a layer that is named so, without `model.`, or as in full checkpoints."""
    found = split_prefix(layer)
    return found[1] if found and found[0] in OWN_PREFIXES else None
