"""Compare the tensors of a file with the names and shapes that its configuration requires."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from soundloom.checkpoints.formats.tensors import LazyTensor, is_float
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, Shapes, is_ignorable
from soundloom.errors import MismatchError

_NAMED_FAULTS = 3  # tensors named in a message; with several kinds of faults, one of each
_MAX_NAME_SHOWN = 80  # characters
_LAYER = re.compile(r"(?:layers|transformers|blocks)\.(\d{1,6})\.")


def require_match(tensors: Mapping[str, LazyTensor], wanted: Shapes, what: str) -> dict[str, LazyTensor]:
    """Return the tensors that `wanted` names, in its order.

    Raises MismatchError, which counts all faults and names the first of each kind; `what` names the file.
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
        "with a wrong shape": misshapen,
        "without floating-point numbers": not_floats,
    }
    faults = {kind: names for kind, names in faults.items() if names}
    if faults:
        named = [_NAMED_FAULTS] if len(faults) == 1 else [1] * _NAMED_FAULTS + [0]
        parts = (_list_faults(kind, names, count) for (kind, names), count in zip(faults.items(), named, strict=False))
        sentence = "; ".join(parts)
        raise MismatchError(f"{what} does not match its configuration: {sentence}", _guess(tensors, wanted))
    return {name: tensors[name] for name in wanted}


def _list_faults(kind: str, names: list[str], named: int) -> str:
    listed = ", ".join(name[:_MAX_NAME_SHOWN] for name in names[:named]) + (", …" if len(names) > named else "")
    counted = f"{len(names)} tensor{'s' if len(names) > 1 else ''} {kind}"
    return f"{counted} ({listed})" if named else counted


def _guess(tensors: Mapping[str, LazyTensor], wanted: Shapes) -> str:
    """Return a hint what the file might be instead, judging by its names and depth."""
    if _holds_text(tensors) and not _holds_text(wanted):
        return "the file holds a text encoder instead of an audio model; check its path"
    if _holds_text(wanted) and not _holds_text(tensors):
        return "the file holds no text encoder; check its path"
    if not any(name in tensors for name in wanted):
        return "no name matches: this is another model, or a layout that docs/formats.md does not list"
    found, expected = depth(_transformer_part(tensors)), depth(_transformer_part(wanted))
    if found != expected:
        return f"the file has {found} blocks, the configuration {expected}: it is another variant of the model"
    return "the configuration and the weights belong to different models, or the file was modified"


def _holds_text(names: Iterable[str]) -> bool:
    return any(name.startswith("model.encoder.") for name in names)


def _transformer_part(names: Iterable[str]) -> list[str]:
    """Return only the names of the diffusion transformer, if any, whose depth differs from the autoencoder's."""
    names = list(names)
    return [name for name in names if name.startswith(DIT_PREFIX)] or names


def depth(names: Iterable[str]) -> int:
    """Return the number of transformer blocks in the names."""
    return 1 + max((int(number) for name in names for number in _LAYER.findall(name)[-1:]), default=-1)
