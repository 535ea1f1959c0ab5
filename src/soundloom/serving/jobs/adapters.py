"""The adapters that jobs may name: those in the server's folder of adapters."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from soundloom.config.parse import parse
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse
from soundloom.errors import RequestError, SoundloomError, shown
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.find import index_adapter, list_adapters
from soundloom.lora.files.parts import some
from soundloom.lora.files.read import read_adapter
from soundloom.lora.guardrails import require_known_fit
from soundloom.lora.stack import require_layers

MAX_NAMED = 8  # adapters in a hint


def adapter_stack(
    loras: Sequence[Mapping[str, Any]], combine: str | None, seconds: str | None, model: str
) -> AdapterStack:
    """Return adapters by their names, with their hashes; one with a hash may have another name here.

    Raises RequestError or CheckpointError for those that are not here or do not fit the model.
    """
    found = [(lora, _find(lora)) for lora in loras]
    uses = [{**lora, "name": adapter.name, "sha256": adapter.sha256} for lora, adapter in found]
    stack: AdapterStack = parse(AdapterStack, {"uses": uses, "combine": combine, "seconds": seconds}, "loras")
    for use, (_, adapter) in zip(stack.uses, found, strict=True):
        _require_fit(use, adapter, model)
    return stack


def _require_fit(use: AdapterUse, adapter: Adapter, model: str) -> None:
    require_known_fit(adapter, model)
    require_layers(use, adapter)
    index_adapter(adapter)  # so that the worker finds it


def _find(lora: Mapping[str, Any]) -> Adapter:
    known, name, wanted = list_adapters(), lora.get("name"), lora.get("sha256")
    if not isinstance(name, str):
        raise RequestError(f"each of loras needs a name, found {shown(name)}", '"loras": [{"name": "style"}]')
    if name in known and not wanted:
        return read_adapter(known[name])
    if wanted:
        for candidate in (*([name] if name in known else []), *(one for one in known if one != name)):
            try:
                adapter = read_adapter(known[candidate])
            except SoundloomError:
                continue
            if adapter.sha256 == wanted:
                return adapter
        if name in known:
            raise RequestError(
                f"the adapter {shown(name)!r} of the server is another one than the one that was asked for",
                "leave out its hash to use it, or copy yours into the server's folder of adapters",
            )
    raise RequestError(f"the server has no adapter named {shown(name)!r}", _hint(name, list(known)))


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 3, 0.5)
    if close:
        return f"did you mean {' or '.join(map(shown, close))}?"
    if known:
        return f"it has {some(known, MAX_NAMED)}"
    return "put adapters into its folder of adapters, `loras` in its data folder"
