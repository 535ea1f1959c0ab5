"""A recipe, the TOML files that describe a model and its training, and the work folder where its stages leave files."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from soundloom.atomic import write_json
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.parse import parse, to_dict
from soundloom.config.stable_audio.model import ModelConfig, parse_model_config
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.config.toml import parse_toml, read_table
from soundloom.errors import ConfigError, RequestError, TrainingError, printable, shown
from soundloom.temporary import remove_stale
from soundloom.training.loop.checkpoint import STATE_FILE, read_json_object, read_weights, save_state

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

MODEL, TEXT_ENCODER = "model", "text_encoder"
COMMANDS: dict[str, str] = {}
BEGINS_WITH = {"distill": ("dit",), "post": ("distill", "dit")}  # the first of these that is there
READS = {"text": ("encode",), "dit": ("encode", "text")}  # what else stages learn from or begin with
T = TypeVar("T")


class Recipe:
    """Reads the files of a folder; `changes` such as "loop.steps=100" win over what `changed`.toml says.

    Raises RequestError where there is no such folder, ConfigError for what its files lack or say wrongly.
    """

    def __init__(self, folder: Path, changed: str = "", changes: Sequence[str] = ()) -> None:
        if not folder.is_dir():
            raise RequestError(f"there is no recipe folder {folder}", "configs/mini is an example of one")
        self.folder, self._changed, self._changes = folder, changed, changes

    def has(self, name: str) -> bool:
        """Whether the recipe says anything about `name`."""
        return self._path(name).is_file()

    def contents(self, name: str) -> bytes:
        """What NAME.toml holds, as it is written."""
        return self._path(name).read_bytes()

    def read(self, cls: type[T], name: str) -> T:
        """Parse NAME.toml strictly."""
        path = self._path(name)
        if not path.is_file():
            raise ConfigError(f"the recipe {self.folder} has no {path.name}", f"it says what the stage {name} is to do")
        table = read_table(path)
        if name == self._changed:
            for change in self._changes:
                table = _merged(table, _parse_change(change))
        try:
            return parse(cls, table)
        except ConfigError as error:
            raise ConfigError(f"{printable(path)}: {error.args[0]}", error.hint) from error

    @cached_property
    def model(self) -> ModelConfig:
        """The model's configuration."""
        path = self._path(MODEL)
        if not path.is_file():
            raise ConfigError(
                f"the recipe {self.folder} has no {path.name}", "describe a model in it, or name one with --from"
            )
        config = parse_model_config(read_table(path))
        if not isinstance(config, ModelConfig):
            raise ConfigError(f"{path} describes an autoencoder alone")
        return config

    @cached_property
    def text_encoder(self) -> T5GemmaConfig:
        """The text encoder's configuration, whose vocabulary the tokenizer decides."""
        return self.read(T5GemmaConfig, TEXT_ENCODER)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.toml"


def _parse_change(change: str) -> dict[str, Any]:
    """A table that holds what "loop.steps=100" says; what is no TOML value is a string."""
    key, equals, value = change.partition("=")
    for text in (value, json.dumps(value)) if equals else ():
        try:
            return parse_toml(f"{key} = {text}")
        except ValueError:
            continue
    raise RequestError(f"--set {shown(change)} is not of the form KEY=VALUE", "--set loop.steps=100")


def _merged(table: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


class RunDirectory:
    """The work folder of one model; a folder of its own for each stage that trains."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.model"

    @property
    def latents(self) -> Path:
        return self.folder / "latents.npz"

    @property
    def encoded_dataset(self) -> Path:
        """Latents of sounds that are not synthetic, in the published layout."""
        return self.folder / "latents"

    def stage_folder(self, name: str) -> Path:
        return self.folder / name

    def trained(self, name: str) -> Path:
        """Where a finished stage leaves its weights."""
        return self.stage_folder(name) / "trained.pt"

    def result(self, name: str) -> Path:
        """What a stage leaves."""
        latents = self.encoded_dataset if self.encoded_dataset.is_dir() else self.latents
        return {"tokenizer": self.tokenizer, "encode": latents}.get(name, self.trained(name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder while the block runs. Raises TrainingError where one is at work.

        The system forgets the lock with the process, however that ends; systems without such locks have none.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as file:
            try:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                hint = "wait for its end or stop it; two runs need a work folder each"
                raise TrainingError(f"another run is at work in {self.folder}", hint) from error
            except OSError as error:  # some network disks
                log.warning("%s cannot be locked (%s): see that no other run uses it", self.folder, error)
            remove_stale(self.folder)
            yield

    def has_begun(self, name: str) -> bool:
        return (self.stage_folder(name) / STATE_FILE).is_file() or self.result(name).exists()

    def is_outdated(self, name: str) -> bool:
        """Whether a stage that makes a generator of another one's has begun before that one was finished last."""
        earlier = next((stage for stage in BEGINS_WITH.get(name, ()) if self.trained(stage).is_file()), None)
        return earlier is not None and self._is_older(name, earlier)

    def renewed(self, name: str) -> list[str]:
        """What a stage learnt from and what has been made again since it was last kept."""
        return [earlier for earlier in READS.get(name, ()) if self._is_older(name, earlier)]

    def _is_older(self, name: str, earlier: str) -> bool:
        own = [path for path in (self.trained(name), self.stage_folder(name) / STATE_FILE) if path.is_file()]
        result = self.result(earlier)
        if not own or not result.is_file():
            return False
        return max(path.stat().st_mtime for path in own) < result.stat().st_mtime

    def forget(self, name: str) -> None:
        """Remove what a stage has left so far."""
        for path in (self.stage_folder(name), self.logs(name), self.result(name)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def logs(self, name: str) -> Path:
        """The folder of a stage's logs for TensorBoard."""
        return self.folder / "tensorboard" / name

    @property
    def pretrained(self) -> dict[str, str] | None:
        """Name and fingerprint of the model that this work began from."""
        path = self.folder / "pretrained.json"
        known = read_json_object(path)
        if known is not None and not all(isinstance(known.get(name), str) for name in ("model", "fingerprint")):
            raise TrainingError(
                f"{printable(path)} names no model", "it is damaged; restore it, or begin in a new folder"
            )
        return known

    def require_pretrained(self, model: str, fingerprint: str) -> None:
        """Note the model to begin from. Raises TrainingError where work began without it, or from another one."""
        known = self.pretrained
        if known is None and (self.folder / "model.json").is_file():
            raise TrainingError(f"the work in {self.folder} began without a model", "name another work folder")
        if known is not None and known["fingerprint"] != fingerprint:
            raise TrainingError(
                f"the work in {self.folder} began from {shown(known['model'])}, whose weights are not those of {model}",
                "name another work folder, or the model that it began from",
            )
        write_json(self.folder / "pretrained.json", {"model": model, "fingerprint": fingerprint})

    def settings(self, name: str) -> dict[str, Any] | None:
        """What a stage was last told; None if it has not begun."""
        return read_json_object(self.stage_folder(name) / "settings.json")

    def changes(self, name: str, settings: Any) -> Iterator[str]:
        """How settings differ from what a stage was last told; nothing where that is not known."""
        known = self.settings(name)
        return iter(()) if known is None else differences(known, json.loads(json.dumps(settings)))

    def keep_settings(self, name: str, settings: dict[str, Any]) -> None:
        write_json(self.stage_folder(name) / "settings.json", settings)

    def require(self, path: Path, stage: str) -> Path:
        """A file that an earlier stage leaves. Raises TrainingError where it is not there."""
        if not path.is_file():
            raise TrainingError(
                f"{path} is not there: the stage {stage} has not come to its end",
                f"run soundloom train {COMMANDS.get(stage, stage)} first",
            )
        return path

    def read_trained(self, name: str) -> dict[str, Tensor]:
        """The weights of a finished stage."""
        return read_weights(self.require(self.trained(name), name), COMMANDS.get(name, name))

    def keep_trained(self, name: str, state: Mapping[str, Tensor]) -> None:
        save_state(self.trained(name), state)

    def require_model(self, config: ModelConfig | MusicGenConfig) -> None:
        """Note which model is made here. Raises TrainingError where it was another one."""
        path, wanted = self.folder / "model.json", json.loads(json.dumps(to_dict(config)))
        known = read_json_object(path)
        if known is None:
            write_json(path, wanted)
        elif known != wanted:
            first = next(differences(known, wanted))
            raise TrainingError(
                f"the work folder {self.folder} holds another model than the recipe describes: {first}",
                "name another work folder",
            )


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield what differs between two trees of plain data, as sentences."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{shown(path)} was {shown(json.dumps(old))} and is {shown(json.dumps(new))}"
