"""Check the clips of a training set before anything is encoded, and report all faults at once."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from soundloom.audio.loudness import integrated_loudness
from soundloom.datasets.examples import Dataset, Example, FileEntry, Selection
from soundloom.errors import SoundloomError, TrainingError, printable, shown

MIN_SECONDS = 0.1
MAX_SPREAD = 6.0  # dB between the levels of clips
SILENCE_DB = Selection().min_peak_db  # dBFS of the peak
LISTED = 20  # clips that a message names
ADVICE = (  # for sets below a number of clips or minutes
    (10, 5.0, "rank 4 to 8 (or an -xs type with rank 16) and 500 to 1000 steps; expect it to repeat these clips"),
    (50, 30.0, "rank 16 and 1000 to 3000 steps"),
    (300, 180.0, "rank 16 to 32 and 3000 to 10000 steps"),
    (math.inf, math.inf, "rank 32 to 64 and 10000 to 20000 steps, with an alpha that grows as the root of the rank"),
)


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip. `level` is its loudness in LUFS, or of latents their RMS in dB; `fault` is "" if usable.

    `frames` counts latents, 0 for sounds that are not encoded yet.
    """

    origin: str
    seconds: float = 0.0
    captions: tuple[str, ...] = ()
    level: float = -math.inf
    rate: int = 0
    channels: int = 0
    frames: int = 0
    digest: str = ""
    fault: str = ""


@dataclass(frozen=True)
class DataReport:
    """The clips of a set, with `errors` that prevent training and `warnings` about what may be unintended."""

    clips: tuple[ClipFacts, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def usable(self) -> tuple[ClipFacts, ...]:
        return tuple(clip for clip in self.clips if not clip.fault)

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.usable)

    def without_faulty(self) -> DataReport:
        """Return the report with faulty clips left out: their faults become warnings, unless no clip remains."""
        if not self.usable:
            return self
        return replace(self, errors=(), warnings=(*self.errors, *self.warnings))

    def require_usable(self) -> None:
        """Raise TrainingError that lists all errors."""
        if self.errors:
            some = bool(self.usable)
            hint = "mend or remove these clips, or leave them out with --skip-faulty"
            raise TrainingError(
                "\n".join(self.errors), hint if some else "soundloom lora check DATA shows what it finds"
            )


def inspect(
    dataset: Dataset,
    *,
    rate: int,
    channels: int,
    max_seconds: float,
    batch_size: int = 1,
    progress: Callable[[int], None] = lambda count: None,
) -> DataReport:
    """Read all clips of a set, sounds or latents, and report on them.

    `rate` is the sample rate of the model, `channels` those of its latents. `max_seconds` is the longest duration that
    the model distinguishes.
    """
    clips = []
    for entry in dataset.entries():
        clips.append(_inspect_clip(entry, channels))
        progress(len(clips))
    usable = [clip for clip in clips if not clip.fault]
    errors = list(_errors(clips))
    warnings = list(_warnings(usable, rate, max_seconds, batch_size)) if usable else []
    return DataReport(tuple(clips), tuple(errors), tuple(warnings))


def advice(clips: int, seconds: float) -> str:
    """Return the rank and the number of steps that suit the size of a set."""
    return next(text for most, minutes, text in ADVICE if clips < most or seconds < 60 * minutes)


def _inspect_clip(entry: FileEntry, channels: int) -> ClipFacts:
    try:
        example = entry.read()
    except SoundloomError as error:
        return ClipFacts(entry.origin, fault=str(error.args[0]))
    facts = _latent_facts(example) if example.latents is not None else _sound_facts(example)
    return replace(facts, fault=_fault(facts, example, channels))


def _sound_facts(example: Example) -> ClipFacts:
    audio = example.audio
    assert audio is not None
    return ClipFacts(
        example.origin,
        example.seconds,
        example.captions,
        integrated_loudness(audio, example.sample_rate),
        example.sample_rate,
        len(audio),
        digest=_digest(audio),
    )


def _latent_facts(example: Example) -> ClipFacts:
    latents = example.latents
    assert latents is not None
    level = 20 * math.log10(max(float(np.sqrt(np.square(latents).mean())), 1e-12))
    frames, digest = latents.shape[1], _digest(latents)
    return ClipFacts(example.origin, example.seconds, example.captions, level, frames=frames, digest=digest)


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _fault(facts: ClipFacts, example: Example, channels: int) -> str:
    if example.latents is not None and len(example.latents) != channels:
        return f"has {len(example.latents)} latent channels, and the model has {channels}"
    if facts.seconds < MIN_SECONDS:
        return f"lasts only {facts.seconds:.2g} s"
    if example.audio is not None and np.abs(example.audio).max(initial=0.0) < 10 ** (SILENCE_DB / 20):
        return f"is silent: its peak is below {SILENCE_DB:g} dBFS"
    if not any(caption.strip() for caption in facts.captions):
        return "has no caption"
    return ""


def _errors(clips: Sequence[ClipFacts]) -> Iterator[str]:
    if not clips:
        yield "the training set has no clips: it needs sounds such as NAME.wav, with their captions in NAME.txt"
        return
    uncaptioned = [clip for clip in clips if clip.fault == "has no caption"]
    if len(uncaptioned) == len(clips) > 0:
        yield (
            f"none of the {len(clips)} clips has a caption: write each into a NAME.txt beside NAME.wav, "
            "or all into a metadata.csv with the columns file_name and caption"
        )
        return
    for fault, group in _grouped(clips).items():
        yield f"{_named(group)} {fault}" if len(group) == 1 else f"{len(group)} clips: {fault}: {_named(group)}"


def _grouped(clips: Iterable[ClipFacts]) -> dict[str, list[ClipFacts]]:
    groups: dict[str, list[ClipFacts]] = {}
    for clip in clips:
        if clip.fault:
            groups.setdefault(clip.fault, []).append(clip)
    return groups


def _named(clips: Sequence[ClipFacts]) -> str:
    more = ", …" if len(clips) > LISTED else ""
    return ", ".join(printable(clip.origin) for clip in clips[:LISTED]) + more


def _warnings(clips: Sequence[ClipFacts], rate: int, max_seconds: float, batch_size: int) -> Iterator[str]:
    if len(clips) < batch_size:
        yield f"{len(clips)} clips are fewer than a batch of {batch_size}: clips repeat within a batch"
    yield from _level_warnings(clips)
    captions = Counter(caption for clip in clips for caption in clip.captions)
    if len(clips) > 1 and len(captions) == 1:
        yield f"all clips have the same caption, {shown(next(iter(captions)))!r}: no other word gets a meaning"
    named = [clip for clip in clips if clip.captions == (PurePosixPath(clip.origin).stem,)]
    if named:
        yield f"{len(named)} captions are names of files: {_named(named)}; describe the sounds instead"
    copies = [group for group in _by_digest(clips).values() if len(group) > 1]
    if copies:
        yield f"{len(copies)} clips appear more than once, the first: {_named(copies[0])}"
    long = [clip for clip in clips if clip.seconds > max_seconds]
    if long:
        yield f"{len(long)} clips are longer than the {max_seconds:g} s that the model tells apart: {_named(long)}"
    other = Counter(clip.rate for clip in clips if clip.rate not in (0, rate))
    if other:
        rates = ", ".join(f"{count} at {found} Hz" for found, count in sorted(other.items()))
        yield f"clips are resampled to {rate} Hz: {rates}"


def _by_digest(clips: Iterable[ClipFacts]) -> dict[str, list[ClipFacts]]:
    groups: dict[str, list[ClipFacts]] = {}
    for clip in clips:
        groups.setdefault(clip.digest, []).append(clip)
    return groups


def _level_warnings(clips: Sequence[ClipFacts]) -> Iterator[str]:
    finite = sorted((clip for clip in clips if math.isfinite(clip.level)), key=lambda clip: clip.level)
    if not finite or finite[-1].level - finite[0].level <= MAX_SPREAD:
        return
    unit, option = ("LUFS", "--loudness -16") if finite[0].rate else ("dB", "--target-latent-rms 0.9")
    low, high = finite[0], finite[-1]
    yield (
        f"levels differ by {high.level - low.level:.0f} dB, from {low.level:.0f} {unit} ({printable(low.origin)}) to "
        f"{high.level:.0f} ({printable(high.origin)}); {option} brings them together"
    )
