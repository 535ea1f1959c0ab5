"""The sounds that are edited: real ones of a set, or rendered ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip, hash_audio
from soundloom.datasets.synthetic import SAMPLE_RATE, HeldOutPrompt
from soundloom.datasets.synthetic.sounds.stems import render_stems
from soundloom.errors import AudioError, RequestError
from soundloom.evaluation.frontend import UNUSABLE, faults
from soundloom.evaluation.sets.manifest import SoundSet
from soundloom.evaluation.synthetic.editing import reference_clip

SHORTEST = 1.0  # seconds
STEM_STREAM = 0x5374656D  # RNG key of rendered music


@dataclass(frozen=True, eq=False)
class Source:
    """A sound to edit: audio (1 or 2 channels, samples) and what is heard; `stems` are parts of it like the audio."""

    id: str
    audio: NDArray[np.float32]
    rate: int
    caption: str
    stems: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return int(self.audio.shape[1])

    @property
    def clip(self) -> Clip:
        return Clip(self.audio, self.rate)


@dataclass(frozen=True)
class Sources:
    """Sounds to edit; `failures` are the faults of those that cannot be used, by id. `hash` is of their content."""

    name: str
    sounds: tuple[Source, ...]
    failures: dict[str, tuple[str, ...]]
    license: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 of ids, samples and captions."""
        found = hashlib.sha256()
        for sound in self.sounds:
            content = hash_audio(sound.rate, len(sound.audio), [sound.audio])
            found.update(f"{sound.id}\0{content}\0{sound.caption}\0".encode("utf-8", "backslashreplace"))
        return found.hexdigest()


def read_sources(sounds: SoundSet, count: int, seconds: float) -> Sources:
    """Read the first `seconds` of `count` sounds of a set, which the hashes of their ids choose.

    Sounds that cannot be read, are silent or shorter than a second are failures. Raises RequestError if none is left.
    """
    ordered = sorted(
        sounds.items, key=lambda item: hashlib.sha256(item.id.encode("utf-8", "backslashreplace")).digest()
    )
    found: list[Source] = []
    failures: dict[str, tuple[str, ...]] = {}
    for item in ordered[:count]:
        try:
            end = item.start + seconds
            audio, rate = replace(item, end=end if item.end is None else min(item.end, end)).read()
        except AudioError as error:
            failures[item.id] = (str(error.args[0]),)
            continue
        stereo = audio if len(audio) <= 2 else to_stereo(audio)[0]
        wrong: tuple[str, ...] = ("too short",) if stereo.shape[1] < SHORTEST * rate else faults(stereo, rate)
        if UNUSABLE.intersection(wrong):
            failures[item.id] = wrong
        else:
            found.append(Source(item.id, np.ascontiguousarray(stereo, np.float32), rate, item.caption or item.prompt))
    if not found:
        first = next(iter(failures.items()))
        raise RequestError(f"none of the {len(failures)} sounds can be edited; {first[0]}: {first[1][0]}")
    return Sources(sounds.name, tuple(found), failures, sounds.license)


def rendered_sources(prompts: Sequence[HeldOutPrompt], seconds: float) -> Sources:
    """Render the reference sounds of prompts of the synthetic dataset."""
    clips = [reference_clip(prompt, seconds, number) for number, prompt in enumerate(prompts)]
    found = [
        Source(f"rendered {number:03d}", clip.audio, clip.sample_rate, prompt.text)
        for number, (clip, prompt) in enumerate(zip(clips, prompts, strict=True))
        if not UNUSABLE.intersection(faults(clip.audio, clip.sample_rate))
    ]
    return Sources("synthetic sounds", tuple(found), {})


def rendered_music(count: int, seconds: float) -> Sources:
    """Render mono pieces of drums, bass, chords and a lead melody, whose stems are known."""
    found = []
    for number in range(count):
        rng = np.random.Generator(np.random.Philox(key=[STEM_STREAM, number]))
        stems = {name: stem[None] for name, stem in render_stems(rng, seconds).items()}
        audio = np.stack(list(stems.values())).sum(axis=0)
        scale = np.float32(min(1.0, 0.99 / max(float(np.abs(audio).max()), 1e-9)))
        scaled = {name: stem * scale for name, stem in stems.items()}
        caption = "music with drums, bass, chords and a lead"
        found.append(Source(f"rendered {number:03d}", np.asarray(audio * scale), SAMPLE_RATE, caption, scaled))
    return Sources("synthetic music", tuple(found), {})
