"""Which models a server has, and by which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundloom.cli.options.flags import flag
from soundloom.cli.options.shared import model_flag, models_flag
from soundloom.errors import RequestError, shown

DEFAULT_MODEL = "mini"
MAX_ALIAS = 200  # characters


@dataclass(frozen=True)
class ServedModels:
    """The models of a server: `model` is the one of requests that name none, `sources` are those of folders."""

    model: str
    allowed: tuple[str, ...] = ()  # none: all of the catalogue
    aliases: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServedModelOptions:
    """Models."""

    model: str | None = model_flag(help="the model of requests that name none: a name or a folder (default: mini)")
    models: Sequence[str] = models_flag(
        default=(),
        type=lambda text: tuple(part.strip() for part in text.split(",")),
        metavar="NAMES",
        help="the models that may be used, such as mini,small-music or folders (default: all)",
    )
    alias: Sequence[str] = flag(
        "--alias",
        default=(),
        action="append",
        metavar="NAME=MODEL",
        help="what clients of other services call a model, such as stable-audio-2.5=medium; repeatable",
    )

    def served_models(self) -> ServedModels:
        """Return the models that the flags name. Raises RequestError, ModelNotFoundError or CheckpointError."""
        sources: dict[str, str] = {}
        allowed = tuple(dict.fromkeys(_name(text, sources) for text in self.models))
        if self.model is None:
            model = allowed[0] if allowed else DEFAULT_MODEL
        else:
            model = _name(self.model, sources)
        if allowed and model not in allowed:
            raise RequestError(f"--model {shown(model)} is not among --models", "add it there, or leave it out")
        return ServedModels(model, allowed, dict(self._alias(text, sources) for text in self.alias), sources)

    def _alias(self, text: str, sources: dict[str, str]) -> tuple[str, str]:
        name, found, model = (part.strip() for part in text.rpartition("="))
        if not found or not name or not model or len(name) > MAX_ALIAS:
            raise RequestError(f"--alias must be NAME=MODEL, found {shown(text)}", "--alias stable-audio-2.5=medium")
        return name.lower(), model if model in sources else _name(model, sources)


def _name(model: str, sources: dict[str, str]) -> str:
    """Return the name of a model; the folder of one outside the catalogue is added to `sources`."""
    from soundloom.cli.loading import known_model, named_entry

    if not model:
        raise RequestError("a model has no name", "--models mini,small-music")
    if named_entry(model) is not None:
        return model
    name, _ = known_model(model)
    path = str(Path(model).resolve())
    if sources.setdefault(name, path) != path:
        raise RequestError(f"two models have the name {shown(name)}: {shown(model)} is the second", "rename its folder")
    return name
