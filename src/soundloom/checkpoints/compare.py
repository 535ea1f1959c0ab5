"""Hold the tensors of a file against those that a configuration calls for: none missing, none extra, shapes equal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from soundloom.checkpoints.shapes import DIT_PREFIX, Shapes, is_ignorable
from soundloom.checkpoints.tensors import LazyTensor
from soundloom.errors import MismatchError

_NAMED_FAULTS = 3  # of each sort; the rest are counted
_LAYER = re.compile(r"(?:layers|transformers|blocks)\.(\d+)\.")


def require_match(tensors: Mapping[str, LazyTensor], wanted: Shapes, what: str) -> dict[str, LazyTensor]:
    """The tensors that `wanted` names, in its order.

    Raises MismatchError, which counts all faults and names the first of each sort; `what` says in which file.
    """
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted and not is_ignorable(name)]
    misshapen = [
        f"{name} {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    faults = [
        _list_faults("missing", missing),
        _list_faults("unexpected", unexpected),
        _list_faults("of another shape", misshapen),
    ]
    if any(faults):
        sentence = "; ".join(fault for fault in faults if fault)
        raise MismatchError(f"{what} does not fit its configuration: {sentence}", _guess(tensors, wanted))
    return {name: tensors[name] for name in wanted}


def _list_faults(sort: str, names: list[str]) -> str:
    if not names:
        return ""
    listed = ", ".join(names[:_NAMED_FAULTS]) + (", …" if len(names) > _NAMED_FAULTS else "")
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} {sort} ({listed})"


def _guess(tensors: Mapping[str, LazyTensor], wanted: Shapes) -> str:
    """What the file might be instead, judged by its names and depth."""
    if _holds_text(tensors) and not _holds_text(wanted):
        return "the file holds a text encoder where an audio model is wanted; check which file is named"
    if _holds_text(wanted) and not _holds_text(tensors):
        return "the file holds no text encoder where one is wanted; check which file is named"
    if not any(name in tensors for name in wanted):
        return "no name agrees: this is another model, or a layout that docs/formats.md does not list"
    found, expected = depth(_transformer_part(tensors)), depth(_transformer_part(wanted))
    if found != expected:
        return f"the file has {found} blocks, the configuration {expected}: it is another variant of the model"
    return "the configuration and the weights belong to different models, or the file was changed"


def _holds_text(names: Iterable[str]) -> bool:
    return any(name.startswith("model.encoder.") for name in names)


def _transformer_part(names: Iterable[str]) -> list[str]:
    """Names of the diffusion transformer where there is one, lest its depth be mixed with the autoencoder's."""
    names = list(names)
    return [name for name in names if name.startswith(DIT_PREFIX)] or names


def depth(names: Iterable[str]) -> int:
    """Number of transformer blocks that the names speak of."""
    return 1 + max((int(number) for name in names for number in _LAYER.findall(name)[-1:]), default=-1)
