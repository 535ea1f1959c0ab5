"""Clips that are generated while an adapter trains: with the base model and, if it is installed, the post-trained one.

The base model's clips come from the networks in training, so that they need no second copy of its weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

from soundloom.atomic import make_folder
from soundloom.audio.clip import Clip
from soundloom.checkpoints.installed import is_installed
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.catalogue import find_entry
from soundloom.engines.stable_audio import Engine
from soundloom.errors import SoundloomError
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.stable_audio.model import Model
from soundloom.training.loop.logging import Callback
from soundloom.training.lora.config import PreviewConfig

log = logging.getLogger(__name__)

MIN_PREVIEWS, MAX_PREVIEWS = 2, 4
Generate = Callable[[Path | None], Sequence[Clip]]  # clips with the saved adapter, if there is one
Show = Callable[[str, Sequence[Clip], int], None]  # the clips of a source after a step


class ModelInTraining(Model):
    """A model that learns words which it did not know, so that it does not warn about them."""

    @property
    def caption_vocabulary(self) -> None:
        return None


class PreviewRequest:
    """The prompts and seeds that all previews share."""

    def __init__(self, prompts: Sequence[str], config: PreviewConfig) -> None:
        self.prompts = list(islice(cycle(prompts), min(MAX_PREVIEWS, max(MIN_PREVIEWS, len(prompts)))))
        self.config = config

    def generate(self, model: Model) -> list[Clip]:
        config = self.config
        seconds = min(config.seconds, model.config.max_seconds) if config.seconds else None
        return model.generate(self.prompts, seconds=seconds, seed=config.seed, steps=config.steps or None)


def base_previews(checkpoint: Checkpoint, make_engine: Callable[[], Engine], request: PreviewRequest) -> Generate:
    """Return a function that generates with an engine of the networks in training, and frees all others again."""

    def generate(adapter: Path | None) -> Sequence[Clip]:
        return request.generate(ModelInTraining(checkpoint, make_engine(), keep_bad=True))

    return generate


def counterpart(checkpoint: Checkpoint) -> str | None:
    """Return the installed post-trained model of a base model of the catalogue, if any."""
    entry = find_entry(checkpoint.name)
    other = find_entry(checkpoint.name.removesuffix("-base")) if entry else None
    return other.name if other and other != entry and is_installed(other) else None


def counterpart_previews(name: str, engine: Literal["torch", "mlx"], device: str, request: PreviewRequest) -> Generate:
    """Return a function that loads another model, generates with the saved adapter, and frees the model."""

    def generate(adapter: Path | None) -> Sequence[Clip]:
        model = load_stable_audio(name, engine=engine, device=device, offline=True, keep_bad=True)
        if adapter is not None:
            model.add_lora(adapter)
        return request.generate(model)

    return generate


class Previews(Callback):
    """Write clips to files: at the start, after every so many steps, and at the end.

    A preview that fails is reported, and training goes on.
    """

    def __init__(
        self,
        sources: dict[str, Generate],
        folder: Path,
        every: int,
        latest: Callable[[], Path | None],
        show: Show = lambda name, clips, step: None,
    ) -> None:
        """`sources` generate the clips, by the names of their folders; `latest` returns the adapter saved last."""
        self.sources, self.folder, self.every, self.latest, self.show = sources, folder, every, latest, show
        self._last = 0  # the step that ends the run

    def due(self, step: int) -> bool:
        """Whether a step has previews."""
        return self.every > 0 and (step % self.every == 0 or step == self._last)

    def on_train_begin(self, step: int, steps: int) -> None:
        self._last = steps
        if step == 0 and self.every > 0:
            self.write(0)

    def on_save(self, step: int) -> None:
        if self.due(step):
            self.write(step)

    def write(self, step: int) -> None:
        """Generate and write all previews of a step."""
        for name, generate in self.sources.items():
            try:
                clips = generate(self.latest() if step else None)
                make_folder(self.folder / name)
                for number, clip in enumerate(clips):
                    clip.save(self.folder / name / f"demo_{number}_{step:08d}.wav", overwrite=True)
                self.show(name, clips, step)
            except (SoundloomError, OSError, RuntimeError, ValueError, MemoryError) as error:
                log.warning("the preview of %s at step %d failed, training goes on: %s", name, step, error)
