"""From a request to the task that carries it out: one pass, an edit, or a sound longer than one pass of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from soundloom.audio.checks import Finding
from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import SEED_LIMIT, GenerationRequest
from soundloom.pipeline.stable_audio.edits import Creation, Edit
from soundloom.pipeline.stable_audio.plan import Item, Job, make_job


class LongCreation:
    """A new sound in several passes: ask for `next_item`, give what became of it to `accept`, as for an edit."""

    mode = "generate"
    is_all_new = True

    def __init__(self, job: Job, config: ModelConfig) -> None:
        self.job, self.config, self.rate = job, config, config.sample_rate
        self._task: Creation | Edit = Creation(replace(job, seconds=config.max_seconds), config)
        self._passes = 0
        self.findings: list[Finding] = []

    def clip(self, record: Mapping[str, Any]) -> Clip:
        """Return the result with the record of how it was made."""
        return self._task.clip(record)

    @property
    def passes_left(self) -> int:
        """Passes to come, or one more than the first as long as there is nothing to continue."""
        return self._task.passes_left + isinstance(self._task, Creation)

    @property
    def notes(self) -> list[str]:
        limit = f"the model makes at most {self.config.max_seconds:.4g} s at once"
        return [
            f"{limit}: the clip was made in {self._passes} passes, each of which continues the last",
            *self._task.notes,
        ]

    def measure(self) -> Item:
        """The next pass without its sound."""
        return self._task.measure()

    def next_item(self) -> Item | None:
        """Return the next pass, or None when the sound is complete."""
        return self._task.next_item()

    def accept(self, made: np.ndarray) -> None:
        """Take what was made of the last item (2, samples)."""
        self._task.accept(made)
        self._passes += 1
        if isinstance(self._task, Creation):
            request = replace(self.job.request, source=Clip(self._task.sound, self.rate), seconds=self.job.seconds)
            seed = (self.job.seed + 1) % SEED_LIMIT  # the first pass took the clip's own
            self._task = Edit(replace(self.job, request=request, seed=seed), self.config)


Task = Creation | LongCreation | Edit


def begin(request: GenerationRequest, config: ModelConfig, default_seconds: float) -> Task:
    """Return the task that a request becomes; raises RequestError where the model cannot honor it."""
    job = make_job(request, config, default_seconds)
    if request.source is not None:
        return Edit(job, config)
    return Creation(job, config) if job.seconds <= config.max_seconds else LongCreation(job, config)
