"""The run directory of one model: what the stages leave for each other, and what they were configured with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor

from soundloom.atomic import write_json
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.parse import to_dict
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import TrainingError, printable, shown
from soundloom.training.locking import exclusive
from soundloom.training.loop.checkpoint import STATE_FILE, read_json_object, read_weights, save_state
from soundloom.training.stages.registry import STAGES


class RunDirectory:
    """The paths and records in a folder, with a subfolder for each stage that trains."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def tokenizer(self) -> Path:
        return self.result("tokenizer")

    @property
    def encoded_dataset(self) -> Path:
        """Latents of a dataset, in the published layout."""
        return self.folder / "latents"

    @property
    def latents(self) -> Path:
        """Latents of synthetic sounds."""
        return self.folder / "latents.npz"

    def stage_folder(self, stage: str) -> Path:
        return self.folder / stage

    def weights(self, stage: str) -> Path:
        """Return the path of the weights of a finished stage."""
        return self.stage_folder(stage) / "trained.pt"

    def logs(self, stage: str) -> Path:
        """Return the folder of a stage's logs for TensorBoard."""
        return self.folder / "tensorboard" / stage

    def result(self, stage: str) -> Path:
        """Return the path of a stage's result, whether it exists or not."""
        paths = [self.folder / name for name in STAGES[stage].results]
        return next((path for path in paths if path.exists()), paths[-1])

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other runs. Raises TrainingError where another run holds the lock."""
        return exclusive(self.folder, "--work")

    # Stages

    def has_started(self, stage: str) -> bool:
        return (self.stage_folder(stage) / STATE_FILE).is_file() or self.result(stage).exists()

    def must_restart(self, stage: str) -> bool:
        """Return whether the stage that this one starts from has been trained again since this one started."""
        source = next((each for each in STAGES[stage].starts_from if self.weights(each).is_file()), None)
        return source is not None and self._is_older(stage, source)

    def changed_reads(self, stage: str) -> list[str]:
        """Return the stages whose results have changed since this one was last saved."""
        return [each for each in STAGES[stage].reads if self._is_older(stage, each)]

    def _is_older(self, stage: str, source: str) -> bool:
        own = [path for path in (self.weights(stage), self.stage_folder(stage) / STATE_FILE) if path.is_file()]
        result = self.result(source)
        if not own or not result.is_file():
            return False
        return max(path.stat().st_mtime for path in own) < result.stat().st_mtime

    def remove(self, stage: str) -> None:
        """Remove everything that a stage has written."""
        for path in (self.stage_folder(stage), self.logs(stage), self.result(stage)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def require(self, path: Path, stage: str) -> Path:
        """Return the path of a result. Raises TrainingError where the stage has not written it."""
        if not path.is_file():
            raise TrainingError(
                f"{path} is missing: the stage {stage} is not finished", f"run soundloom train {stage} first"
            )
        return path

    def read_weights(self, stage: str) -> dict[str, Tensor]:
        """Read the weights of a finished stage. Raises TrainingError."""
        return read_weights(self.require(self.weights(stage), stage), stage)

    def save_weights(self, stage: str, weights: Mapping[str, Tensor]) -> None:
        save_state(self.weights(stage), weights)

    # Records

    def settings(self, stage: str) -> dict[str, Any] | None:
        """Return the configuration that a stage last ran with; None if it has not started."""
        return read_json_object(self.stage_folder(stage) / "settings.json")

    def changes(self, stage: str, settings: Any) -> Iterator[str]:
        """Yield the differences to the configuration that a stage last ran with; nothing if that is unknown."""
        known = self.settings(stage)
        return iter(()) if known is None else differences(known, json.loads(json.dumps(settings)))

    def save_settings(self, stage: str, settings: dict[str, Any]) -> None:
        write_json(self.stage_folder(stage) / "settings.json", settings)

    @property
    def pretrained(self) -> dict[str, str] | None:
        """Name and fingerprint of the model that this run started from."""
        path = self.folder / "pretrained.json"
        known = read_json_object(path)
        if known is not None and not all(isinstance(known.get(name), str) for name in ("model", "fingerprint")):
            hint = "it is damaged; restore it, or choose another --work folder"
            raise TrainingError(f"{printable(path)} names no model", hint)
        return known

    def require_pretrained(self, model: str, fingerprint: str) -> None:
        """Record the pretrained model. Raises TrainingError where the run started without it or from another one."""
        known = self.pretrained
        if known is None and (self.folder / "model.json").is_file():
            raise TrainingError(
                f"the run in {self.folder} started without a pretrained model", "choose another --work folder"
            )
        if known is not None and known["fingerprint"] != fingerprint:
            raise TrainingError(
                f"the run in {self.folder} started from {shown(known['model'])}, whose weights differ from {model}",
                "choose another --work folder, or the model that it started from",
            )
        write_json(self.folder / "pretrained.json", {"model": model, "fingerprint": fingerprint})

    def require_model(self, config: ModelConfig | MusicGenConfig) -> None:
        """Record the model's configuration. Raises TrainingError where it differs from the recorded one."""
        path, wanted = self.folder / "model.json", json.loads(json.dumps(to_dict(config)))
        known = read_json_object(path)
        if known is None:
            write_json(path, wanted)
        elif known != wanted:
            first = next(differences(known, wanted))
            raise TrainingError(
                f"the run in {self.folder} trains another model than the recipe describes: {first}",
                "choose another --work folder",
            )


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield the differences between two trees of plain data as sentences."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{shown(path)} was {shown(json.dumps(old))} and is {shown(json.dumps(new))}"
