"""Read, describe and write adapters for the actions of `soundloom lora`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.errors import RequestError, WriteError
from soundloom.folders import expanded
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.find import find_adapter
from soundloom.lora.files.read import read_adapter
from soundloom.lora.files.write import Dtype, write_adapter

if TYPE_CHECKING:
    from soundloom.checkpoints.stable_audio.open import Checkpoint
    from soundloom.lora.operations.extract import Residual

log = logging.getLogger(__name__)
LayerProgress = Callable[[str], None]


def read(name: str, *, ema: bool = False) -> Adapter:
    """Read an adapter; its notices become warnings."""
    adapter = read_adapter(find_adapter(name), ema=ema)
    warn(adapter)
    return adapter


def read_for(
    name: str,
    checkpoint: Checkpoint,
    *,
    bases: str | None = None,
    partial: bool = False,
    ema: bool = False,
    quiet: bool = False,
) -> Adapter:
    """Read an adapter, check that it fits a model, and complete its bases."""
    from soundloom.lora.fitting import fitted

    adapter = fitted(read_adapter(find_adapter(name), ema=ema), checkpoint, bases=bases, partial=partial)
    if not quiet:
        warn(adapter)
    return adapter


def warn(adapter: Adapter) -> None:
    for notice in adapter.notices:
        log.warning("%s: %s", adapter.name, notice)


def warn_of_shared_seconds(adapters: Sequence[Adapter]) -> None:
    """Log that only the first of several adapters changes how the duration is embedded."""
    from soundloom.lora.modules import SECONDS

    owners = [adapter.name for adapter in adapters if SECONDS in adapter.modules]
    if len(owners) > 1:
        log.warning("only %s changes how the duration is embedded; that of %s is left out", owners[0], owners[1])


def new_file(name: str, overwrite: bool) -> Path:
    """Return the path of a file to write. Raises RequestError or WriteError if it cannot be written."""
    path = expanded(name)
    if path.suffix != ".safetensors":
        raise RequestError(f"{path.name} must be a .safetensors file", f"name it {path.stem}.safetensors")
    if path.exists() and not overwrite:
        raise WriteError(f"{path} exists already", "choose another name, or replace it with --overwrite")
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent}", "create it first")
    return path


def save(path: Path, adapter: Adapter, *, dtype: Dtype = "F16", slim: bool = False) -> None:
    write_adapter(path, adapter, dtype=dtype, slim=slim)


@contextmanager
def layer_progress(stage: str, total: int, *, quiet: bool) -> Iterator[LayerProgress]:
    """Show how many layers are done; call the yielded function when a layer begins."""
    from soundloom.cli.terminal.progress import ProgressDisplay
    from soundloom.pipeline.progress import Progress

    done = 0
    with ProgressDisplay(quiet=quiet) as display:

        def begin(_: str) -> None:
            nonlocal done
            display(Progress(stage, done, total))
            done += 1

        yield begin


def residual_lines(residuals: Sequence[Residual]) -> list[str]:
    """Return how much of the change of each group of layers is missing, as text."""
    return [
        f"{one['group']}: {one['layers']} layers, residual {one['residual']:.1%} of a change of {one['change']:.1%}"
        for one in residual_facts(residuals)
    ]


def residual_facts(residuals: Sequence[Residual]) -> list[dict[str, Any]]:
    """Return the missing share of the change, and the relative change, of each group of layers and of `all`."""
    from soundloom.lora.modules import group_of

    groups: dict[str, list[Residual]] = {}
    for one in residuals:
        groups.setdefault(group_of(one.name), []).append(one)
    if residuals:
        groups["all"] = list(residuals)
    facts = []
    for group, members in groups.items():
        change, missing, weight = (sum(getattr(one, key) for one in members) for key in ("change", "missing", "weight"))
        share, size = ((part / whole) ** 0.5 if whole else 0.0 for part, whole in ((missing, change), (change, weight)))
        facts.append({"group": group, "layers": len(members), "residual": share, "change": size})
    return facts
