"""Options of `soundloom lora`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import LicenseOptions
from soundloom.cli.options.output import JsonOptions, QuietOptions
from soundloom.cli.options.shared import bases_flag, model_flag, overwrite_flag, partial_flag
from soundloom.errors import RequestError, printable, shown
from soundloom.folders import expanded

_DTYPES = {"fp16": "F16", "fp32": "F32"}


@dataclass(frozen=True)
class AdapterOutputOptions(JsonOptions, QuietOptions):
    """Output."""

    adapter_dtype: str = flag("--dtype", default="fp16", choices=tuple(_DTYPES), help="precision of the tensors of OUT")
    overwrite: bool = overwrite_flag(default=False, action="store_true", help="replace OUT if it exists")

    @property
    def stored_dtype(self) -> Literal["F16", "F32"]:
        return "F32" if self.adapter_dtype == "fp32" else "F16"


@dataclass(frozen=True)
class AdapterModelOptions(LicenseOptions):
    """Model and device."""

    model: str | None = model_flag(help="the model: a name from `soundloom models`, a folder, or a file")
    bases: str | None = bases_flag(help="singular vectors of the model that an XS adapter was trained on")
    partial: bool = partial_flag(
        help="apply only the layers that the model has, and accept adapters for another model of the same sizes"
    )


def split_strength(text: str, folder: str | None = None) -> tuple[str, float]:
    """Split `FILE=S` into file and strength, which is 1 by default; `folder` is that of named adapters.

    File names may contain `=` too, as `run-step=500-epoch=3` does: an adapter of the whole name comes first. Raises
    RequestError if something else than a number follows a file.
    """
    name, found, last = text.rpartition("=" if "=" in text else ":")  # sometimes written FILE:S
    if not found or expanded(text).exists():
        return text, 1.0
    try:
        strength = float(last)
    except ValueError:
        if expanded(name).exists() and "." not in last:
            example = f"for example {printable(name)}=0.7"
            raise RequestError(
                f"{shown(last)!r}, the strength of {printable(name)}, is not a number", example
            ) from None
        return text, 1.0
    from soundloom.lora.files.find import list_adapters

    return (text, 1.0) if text in list_adapters(folder) else (name, strength)
