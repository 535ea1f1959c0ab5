"""The output folder of a run: adapters, the record that a resumed run must match, caches, logs and previews."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from soundloom.atomic import write_json
from soundloom.errors import SoundloomError, TrainingError, shown
from soundloom.lora.files.detect import RUN_RECORD
from soundloom.training.locking import exclusive
from soundloom.untrusted.json import read_json

_FIXED = ("base", "data", "adapter", "seed", "engine")  # parts of the record that cannot change during a run


class RunFolder:
    """The paths in a folder of adapter training."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other runs. Raises TrainingError where another run holds the lock."""
        return exclusive(self.folder, "--out")

    @property
    def has_started(self) -> bool:
        return (self.folder / RUN_RECORD).is_file()

    @property
    def latents(self) -> Path:
        return self.folder / "latents"

    @property
    def held_out_latents(self) -> Path:
        return self.folder / "held-out"

    @property
    def prompts(self) -> Path:
        return self.folder / "prompts.npz"

    @property
    def previews(self) -> Path:
        return self.folder / "previews"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    def adapter(self, step: int, epoch: int, kind: str = "") -> Path:
        """Return the path of the adapter after a step; `kind` tells averaged ones apart."""
        return self.folder / f"{self.name}{kind and f'-{kind}'}-step={step}-epoch={epoch}.safetensors"

    def adapters(self, kind: str = "") -> dict[int, Path]:
        """Return the saved adapters by step, in order."""
        pattern = re.compile(rf"{re.escape(self.name + (kind and f'-{kind}'))}-step=(\d+)-epoch=\d+\.safetensors")
        found = {int(match[1]): path for path in self.folder.iterdir() if (match := pattern.fullmatch(path.name))}
        return dict(sorted(found.items()))

    def prune(self, keep_last: int, keep_every: int) -> None:
        """Remove adapters other than the last ones and those of every `keep_every` steps."""
        for kind in ("", "ema"):
            steps = self.adapters(kind)
            for step in list(steps)[:-keep_last]:
                if not keep_every or step % keep_every:
                    steps[step].unlink(missing_ok=True)

    # The record

    @property
    def record(self) -> Mapping[str, Any] | None:
        """What the run was started with; None for a new one. Raises TrainingError."""
        path = self.folder / RUN_RECORD
        if not path.is_file():
            return None
        try:
            return read_json(path)
        except (SoundloomError, ValueError, OSError) as error:
            hint = "restore it, or start over with --restart"
            raise TrainingError(f"{path} cannot be read: {error.args[0]}", hint) from error

    def require_same(self, record: Mapping[str, Any]) -> None:
        """Raise TrainingError if the run was started with another base model, other data or another adapter."""
        known = self.record
        if known is None:
            return
        changed = [part for part in _FIXED if known.get(part) != record.get(part)]
        if changed:
            part = changed[0]
            raise TrainingError(
                f"the run in {self.folder} was started with another {part}: {_difference(known, record, part)}",
                "choose another --out folder, or discard that run with --restart",
            )

    def save_record(self, record: Mapping[str, Any]) -> None:
        write_json(self.folder / RUN_RECORD, dict(record))

    def discard(self) -> None:
        """Remove a run's results, but no caches of latents and texts."""
        for path in [*self.adapters().values(), *self.adapters("ema").values(), *self._progress()]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _progress(self) -> Iterator[Path]:
        yield from (self.folder / name for name in (RUN_RECORD, "state.pt", "state.safetensors", "log.jsonl"))
        yield from (path for path in (self.previews, self.tensorboard) if path.exists())


def _difference(known: Mapping[str, Any], record: Mapping[str, Any], part: str) -> str:
    old, new = known.get(part), record.get(part)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        name = next(name for name in {**old, **new} if old.get(name) != new.get(name))
        return f"its {name} was {shown(old.get(name))} and is {shown(new.get(name))}"
    return f"{shown(old)}, not {shown(new)}"
