"""Hold the tensors of a file against those that a configuration calls for: none missing, none extra, shapes equal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from soundloom.checkpoints.formats.tensors import LazyTensor, is_float
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, Shapes, is_ignorable
from soundloom.errors import MismatchError

_NAMED_FAULTS = 3  # where all are of one sort, else one of each of the first sorts; the rest are counted
_LONGEST_FAULT = 80  # characters
_LAYER = re.compile(r"(?:layers|transformers|blocks)\.(\d{1,6})\.")


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
    not_floats = [f"{name} {tensors[name].dtype}" for name in wanted if name in tensors and not is_float(tensors[name])]
    faults = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": misshapen,
        "not of floating-point numbers": not_floats,
    }
    faults = {sort: names for sort, names in faults.items() if names}
    if faults:
        named = [_NAMED_FAULTS] if len(faults) == 1 else [1] * _NAMED_FAULTS + [0]
        parts = (_list_faults(sort, names, count) for (sort, names), count in zip(faults.items(), named, strict=False))
        sentence = "; ".join(parts)
        raise MismatchError(f"{what} does not fit its configuration: {sentence}", _guess(tensors, wanted))
    return {name: tensors[name] for name in wanted}


def _list_faults(sort: str, names: list[str], named: int) -> str:
    listed = ", ".join(name[:_LONGEST_FAULT] for name in names[:named]) + (", …" if len(names) > named else "")
    counted = f"{len(names)} tensor{'s' if len(names) > 1 else ''} {sort}"
    return f"{counted} ({listed})" if named else counted


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
