"""Check sounds and sets for what makes a distance between them misleading.

Copies inside a set and between two sets, unequal lengths, unequal bandwidth (as coders leave it), sounds that are
silent, clipped, too short or not finite. Each sound is read once, in blocks, so that memory does not grow with its
length.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.cores import count_cores
from soundloom.errors import AudioError, shown
from soundloom.evaluation.cache import EmbeddingCache, embedding_key
from soundloom.evaluation.frontend import CLIPPED, SHORTEST, SILENCE
from soundloom.evaluation.sets.items import Samples, SoundItem

FRAME, HOP = 4096, 3072  # samples of the power spectrum, with a Hann window
POWER_SHARE = 0.999  # below the bandwidth
LENGTH_SECONDS = 0.05  # by which lengths of a set may differ and still count as equal
LENGTH_RATIO, BANDWIDTH_RATIO = 1.05, 1.25  # of the medians of two sets, from which they are said to differ
DIGITS = 16  # of hashes that are kept with a reference
SHOWN = 3  # ids in a note
VERSION = "1"  # of these checks, in the cache

FAULTS = ("silent", "not finite", "clipped", "too short")


@dataclass(frozen=True)
class SoundCheck:
    """What one sound is like. `samples_hash` is the SHA-256 of rate, channels and samples of the cut.

    `bandwidth` is the frequency in Hz below which 99.9 % of the power lies, without that of the lowest bins; 0 for
    silence. A sound that cannot be read has an `error` and no further values.
    """

    id: str
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    peak: float = 0.0
    bandwidth: float = 0.0
    samples_hash: str = ""
    faults: tuple[str, ...] = ()
    error: str = ""


def check_sound(item: SoundItem) -> SoundCheck:
    """Check one sound."""
    try:
        with item.open() as sound:
            meter = _Meter(sound.rate, sound.channels)
            for block in sound.blocks():
                meter.add(block)
    except AudioError as error:
        return SoundCheck(item.id, error=str(error.args[0]))
    return meter.result(item.id)


class _Meter:
    """Gather the figures of a sound block by block."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate, self.channels, self.samples, self.peak = rate, channels, 0, 0.0
        self.is_finite, self.is_clipped = True, False
        self.digest = hashlib.sha256(json.dumps([rate, channels]).encode())
        self.power = np.zeros(FRAME // 2 + 1)
        self.waiting: Samples = np.zeros((channels, 0), np.float32)
        self.last = self.waiting  # frame
        self.full = np.zeros((channels, CLIPPED - 1), bool)

    def add(self, block: Samples) -> None:
        """Add a block (c, n)."""
        self.samples += block.shape[1]
        self.digest.update(np.ascontiguousarray(block.T, "<f4").data)
        if not np.isfinite(block).all():
            self.is_finite = False
            return
        magnitude = np.abs(block)
        self.peak = max(self.peak, float(magnitude.max(initial=0.0)))
        if self.peak >= 1.0 and not self.is_clipped:
            self.is_clipped = self._has_run(magnitude)
        self.full = np.concatenate([self.full, magnitude >= 1.0], axis=1)[:, -CLIPPED + 1 :]
        joined = np.concatenate([self.waiting, block], axis=1)
        frames = max(0, (joined.shape[1] - FRAME) // HOP + 1)
        if frames:
            self._add_frames(np.lib.stride_tricks.sliding_window_view(joined, FRAME, axis=1)[:, : frames * HOP : HOP])
        self.waiting = joined[:, frames * HOP :].copy()
        self.last = np.concatenate([self.last, block[:, -FRAME:]], axis=1)[:, -FRAME:]

    def result(self, name: str) -> SoundCheck:
        """Return the figures."""
        if self.is_finite:
            self._add_frames(self.last[:, None])
        return SoundCheck(
            id=name,
            seconds=self.samples / self.rate,
            rate=self.rate,
            channels=self.channels,
            peak=self.peak if self.is_finite else float("inf"),
            bandwidth=self._bandwidth(),
            samples_hash=self.digest.hexdigest(),
            faults=tuple(self._faults()),
        )

    def _faults(self) -> Iterator[str]:
        """Yield the faults, as `soundloom.evaluation.frontend.faults` does for whole sounds."""
        if self.samples < SHORTEST * self.rate:
            yield "too short"
        elif not self.is_finite:
            yield "not finite"
        else:
            if self.peak < SILENCE:
                yield "silent"
            if self.is_clipped:
                yield "clipped"

    def _has_run(self, magnitude: Samples) -> bool:
        """Whether several samples in a row are at full scale, also across the last block's end."""
        full = np.concatenate([self.full, magnitude >= 1.0], axis=1)
        length = full.shape[1] - CLIPPED + 1
        return bool(np.logical_and.reduce([full[:, shift : shift + length] for shift in range(CLIPPED)]).any())

    def _add_frames(self, frames: NDArray[np.float32]) -> None:
        """Add frames (c, frames, n); of a short sound, n is less than FRAME."""
        window = np.hanning(frames.shape[2] + 1)[:-1].astype(np.float32)
        spectra = np.fft.rfft(frames * window, FRAME, axis=2)
        self.power += (spectra.real**2 + spectra.imag**2).sum(axis=(0, 1), dtype=np.float64)

    def _bandwidth(self) -> float:
        power = self.power.copy()
        power[:2] = 0  # an offset is no sound
        total = power.sum()
        if not self.is_finite or self.peak < SILENCE or not total > 0:
            return 0.0
        return float(np.searchsorted(power.cumsum(), POWER_SHARE * total)) * self.rate / FRAME


@dataclass(frozen=True)
class SetChecks:
    """The checks of all sounds of a set."""

    sounds: tuple[SoundCheck, ...]

    @cached_property
    def readable(self) -> tuple[SoundCheck, ...]:
        return tuple(sound for sound in self.sounds if not sound.error)

    @cached_property
    def copies(self) -> tuple[tuple[str, ...], ...]:
        """The ids of sounds with equal samples, in groups of two or more."""
        groups: dict[str, list[str]] = defaultdict(list)
        for sound in self.readable:
            groups[sound.samples_hash].append(sound.id)
        return tuple(tuple(ids) for ids in groups.values() if len(ids) > 1)

    @property
    def bandwidth(self) -> float:
        """The median bandwidth in Hz of sounds that are not silent; NaN without any."""
        return _median([sound.bandwidth for sound in self.readable if sound.bandwidth])

    @property
    def hashes(self) -> list[str]:
        """The distinct hashes of samples, shortened, in order."""
        return sorted({sound.samples_hash[:DIGITS] for sound in self.readable})

    def ids_with(self, fault: str) -> tuple[str, ...]:
        """Return the ids of sounds with a fault of FAULTS."""
        return tuple(sound.id for sound in self.sounds if fault in sound.faults)

    def record(self) -> dict[str, Any]:
        """Return what a report says about the set, as JSON values."""
        lengths = [sound.seconds for sound in self.readable]
        return {
            "count": len(self.sounds),
            "unreadable": len(self.sounds) - len(self.readable),
            **{fault.replace(" ", "_"): len(self.ids_with(fault)) for fault in FAULTS},
            "copies": sum(len(group) - 1 for group in self.copies),
            "seconds": [_rounded(value) for value in (min(lengths), _median(lengths), max(lengths))] if lengths else [],
            "bandwidth": _rounded(self.bandwidth),
            "rates": _counted(sound.rate for sound in self.readable),
            "channels": _counted(sound.channels for sound in self.readable),
        }


def check_sounds(
    items: Sequence[SoundItem],
    cache: EmbeddingCache | None = None,
    log: Callable[[int, int], None] = lambda done, total: None,
) -> SetChecks:
    """Check sounds in threads, in order; `cache` keeps the results by content."""
    lock, cores = Lock(), count_cores()

    def check(item: SoundItem) -> SoundCheck:
        if cache is None:
            return check_sound(item)
        try:
            key = embedding_key(item.content_hash, item.start, item.end, "sound check", VERSION)
        except AudioError as error:
            return SoundCheck(item.id, error=str(error.args[0]))
        with lock:
            entry = cache.entry(key)
        if entry:
            stored = json.loads(entry.notes[0])
            return SoundCheck(**{**stored, "id": item.id, "faults": tuple(stored["faults"])})
        found = check_sound(item)
        if not found.error:
            with lock:
                nothing = np.zeros((0, 0), np.float32)
                cache.add(key, nothing, [], [json.dumps(asdict(found))])
        return found

    sounds = []
    with ThreadPoolExecutor(cores.usable if cores else os.cpu_count() or 1) as pool:
        for found in pool.map(check, items):
            sounds.append(found)
            log(len(sounds), len(items))
    if cache:
        cache.flush()
    return SetChecks(tuple(sounds))


def set_notes(checks: SetChecks, name: str = "the set") -> tuple[str, ...]:
    """Return warnings about one set."""
    notes = []
    if copies := checks.copies:
        example = " = ".join(shown(one) for one in copies[0][:SHOWN])
        notes.append(f"{checks.record()['copies']} sounds of {name} are copies of others, such as {example}")
    lengths = [sound.seconds for sound in checks.readable]
    if lengths and max(lengths) - min(lengths) > LENGTH_SECONDS:
        notes.append(f"sounds of {name} last {min(lengths):.2f} to {max(lengths):.2f} s; equal lengths compare best")
    return tuple(notes)


def overlap(checks: SetChecks, hashes: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of sounds whose samples are among `hashes` of another set."""
    known = {one[:DIGITS] for one in hashes}
    return tuple(sound.id for sound in checks.readable if sound.samples_hash[:DIGITS] in known)


def comparison_notes(checks: SetChecks, reference: Mapping[str, Any], hashes: Sequence[str]) -> tuple[str, ...]:
    """Return warnings about a set beside a reference, given the reference's `SetChecks.record` and `hashes`."""
    notes, mine = [], checks.record()
    if shared := overlap(checks, hashes):
        listed = ", ".join(shown(one) for one in shared[:SHOWN])
        notes.append(f"{len(shared)} of {mine['count']} sounds are also in the reference, such as {listed}")
    if reference.get("copies"):
        notes.append(f"{reference['copies']} sounds of the reference are copies of others")
    lengths = [record["seconds"][1] for record in (mine, reference) if record.get("seconds")]
    if len(lengths) == 2 and _differ(lengths[0], lengths[1], LENGTH_RATIO):
        notes.append(f"sounds last {lengths[0]:.2f} s and those of the reference {lengths[1]:.2f} s (medians)")
    widths = [record.get("bandwidth") for record in (mine, reference)]
    if widths[0] and widths[1] and _differ(widths[0], widths[1], BANDWIDTH_RATIO):
        notes.append(
            f"the bandwidth is {widths[0] / 1000:.1f} kHz, that of the reference {widths[1] / 1000:.1f} kHz (99.9 % of "
            "the power, medians): part of the distance may be a band limit, such as that of an MP3 coder"
        )
    return tuple(notes)


def _differ(a: float, b: float, ratio: float) -> bool:
    return max(a, b) > ratio * min(a, b)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _rounded(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def _counted(values: Iterator[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}
