"""Generate the clips of a list of prompts into a folder, and go on where an earlier run ended."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import OutputError
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.manifest import SoundSet
from soundloom.evaluation.sets.prompts import Prompt, PromptList
from soundloom.pipeline.stable_audio.model import Model

BATCH = 32  # requests at once; those of equal length run together
SLUG = 40  # characters of a file name that come from the prompt
KEY = 12  # and those of the request's hash

Log = Callable[[int, int], None]


@dataclass(frozen=True)
class GeneratedSet:
    """Generated clips as a set of sounds, the failures of prompts without one by id, and the seconds that it took.

    `seconds` is 0 for clips of an earlier run. Ids are those of prompts with the seed, such as `rain@7`.
    """

    sounds: tuple[SoundItem, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    made: int = 0

    def as_set(self, name: str) -> SoundSet:
        """Return the clips as a set. Raises RequestError if there is none."""
        return SoundSet(name, self.sounds)


def generate_set(
    model: Model,
    prompts: PromptList,
    folder: Path,
    seconds: float,
    options: Mapping[str, Any] | None = None,
    prefix: str = "",
    log: Log = lambda done, total: None,
) -> GeneratedSet:
    """Generate a WAV file of 32 bit floats for each prompt and seed.

    `seconds` is the length where a prompt states none, `options` are further fields of requests, `prefix` precedes
    each prompt. Files of equal requests to an equal model are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(_item(one, folder, seconds, model, options or {}, prefix), one) for one in prompts.requests()]
    missing = [(item, one) for item, one in wanted if not item.path.is_file()]
    failures: dict[str, str] = {}
    start, made = time.perf_counter(), len(missing)
    log(len(wanted) - made, len(wanted))
    for first in range(0, made, BATCH):
        batch = missing[first : first + BATCH]
        failures |= _generate(model, batch, options or {}, prefix)
        log(len(wanted) - made + first + len(batch), len(wanted))
    elapsed = time.perf_counter() - start if made else 0.0
    return GeneratedSet(tuple(item for item, _ in wanted if item.id not in failures), failures, elapsed, made)


def _generate(
    model: Model, batch: Sequence[tuple[SoundItem, Prompt]], options: Mapping[str, Any], prefix: str
) -> dict[str, str]:
    """Generate and save clips. Returns the errors of unusable ones by id."""
    requests = [
        GenerationRequest(prefix + prompt.text, seconds=item.seconds, seed=prompt.seed, **options)
        for item, prompt in batch
    ]
    try:
        for index, clip in model.iter(requests):
            _save(clip, batch[index][0].path)
    except OutputError as error:
        errors = error.errors or {index: error for index in range(len(batch)) if not batch[index][0].path.is_file()}
        return {batch[index][0].id: str(each).partition("\n")[0] for index, each in errors.items()}
    return {}


def _save(clip: Clip, path: Path) -> None:
    clip.save(path, subtype="float", disclosure=False)


def _item(
    prompt: Prompt, folder: Path, seconds: float, model: Model, options: Mapping[str, Any], prefix: str
) -> SoundItem:
    length = prompt.seconds or seconds
    key = {
        "model": model.checkpoint.fingerprint,
        "engine": [model.engine.name, model.engine.device, model.engine.precision],
        "id": prompt.id,
        "prompt": prefix + prompt.text,
        "seed": prompt.seed,
        "seconds": length,
        "options": {name: repr(value) for name, value in options.items()},
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:KEY]
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.text.lower())[:SLUG].strip("-") or "prompt"
    path = folder / f"{slug}-{prompt.seed}-{digest}.wav"
    return SoundItem(f"{prompt.id}@{prompt.seed}", path, prompt.text, 0.0, None, prompt.text, prompt.seed, length)
