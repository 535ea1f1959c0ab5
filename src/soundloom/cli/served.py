"""Run the clips of a command on a server: `--server URL`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from soundloom.audio.clip import Clip
from soundloom.cli.loading import named_entry
from soundloom.cli.options.generation import GenerationOptions, MusicOptions
from soundloom.client.synchronous import Client
from soundloom.errors import RequestError, shown
from soundloom.pipeline.musicgen.plan import PlannedMusic
from soundloom.pipeline.plan import Plan
from soundloom.pipeline.progress import ProgressCallback
from soundloom.pipeline.stable_audio.plan import PlannedClip

log = logging.getLogger(__name__)
# Flags about what the server decides for itself, and those about what it does not do.
_IDLE = (
    *("engine", "device", "threads", "precision", "no_half", "free_models", "revision", "offline", "accept_license"),
    "lora_dir",
)
_ABSENT = ("keep_bad",)


@dataclass(frozen=True)
class ServedModel:
    """A model of a server, with the part of a model's interface that commands use."""

    name: str
    client: Client

    @classmethod
    def of(cls, options: GenerationOptions | MusicOptions) -> ServedModel:
        """Return the model that the flags name. Raises RequestError for flags that a server cannot honor."""
        if absent := _given(options, _ABSENT):
            raise RequestError(f"{', '.join(absent)} cannot be used with --server", "leave it out, or generate here")
        if named_entry(options.model_name) is None:
            raise RequestError(
                f"{shown(options.model_name)} is a model of this machine, and the server has its own",
                "name a model of `soundloom models`",
            )
        is_repeated = getattr(options, "like", None) is not None  # which sets the precision
        for flag in _given(options, [name for name in _IDLE if not (is_repeated and name == "precision")]):
            log.warning("%s has no effect with --server", flag)
        return cls(options.model_name, Client(options.server or ""))

    def execute(
        self, plan: Plan[PlannedClip] | Plan[PlannedMusic], *, progress: ProgressCallback | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Generate the clips of a plan; see `Model.execute`."""
        requests = [replace(clip.request, seed=clip.seed) for clip in plan.clips]
        with self.client as client:
            yield from client.iter(requests, model=self.name, progress=progress)


def _given(options: GenerationOptions | MusicOptions, names: tuple[str, ...] | list[str]) -> list[str]:
    """Return the flags that were given, of some."""
    known = {field.name: field for field in fields(options)}
    given = [name for name in names if name in known and getattr(options, name) != known[name].default]
    return [next(flag for flag in known[name].metadata["names"] if flag[:2] == "--") for name in given]
