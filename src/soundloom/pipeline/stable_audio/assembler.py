"""Requests as a sequence of passes: one for a new sound, and for an edit as many as its length needs.

All positions here are samples at the source's own rate, so that a region is honored to the sample. A sound longer
than the model's limit is edited in windows: each sees what is already known around the piece it makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from soundloom.audio.channels import to_channels, to_stereo
from soundloom.audio.checks import Finding
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample, resample_published
from soundloom.audio.streamed_clip import PatchedAudio, StreamedClip
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import SEED_LIMIT
from soundloom.diffusion.masks import Span, blend
from soundloom.errors import RequestError
from soundloom.pipeline.stable_audio.plan import Item, Job, make_item
from soundloom.pipeline.stable_audio.run import fit

FULL_SCALE = 0.999


@dataclass(frozen=True)
class Window:
    """One pass: the span that the model hears, and the regions inside it that it makes."""

    start: int
    stop: int
    regions: tuple[Span, ...]


class Creation:
    """A new sound, made in one pass: ask for `next_item`, give what became of it to `accept`."""

    mode = "generate"
    is_all_new = True

    def __init__(self, job: Job, config: ModelConfig) -> None:
        self.job, self.config, self.rate = job, config, config.sample_rate
        self.sound = np.zeros((config.audio_channels, 0), dtype=np.float32)
        self.notes: list[str] = []
        self.findings: list[Finding] = []
        self.passes_left = 1

    def measure(self) -> Item:
        """Return the one pass."""
        return make_item(self.job, self.config, self.job.seconds, self.job.seed)

    def next_item(self) -> Item | None:
        """Return the one pass, and None once it was accepted."""
        return self.measure() if self.passes_left else None

    def accept(self, made: np.ndarray) -> None:
        """Take what was made (2, samples)."""
        self.sound, self.passes_left = made, 0

    def clip(self, record: Mapping[str, Any]) -> Clip:
        """Return the result with the record of how it was made."""
        return Clip(self.sound, self.rate, record)


class Edit:
    """An edit under way. Ask for `next_item`, give its sound to `accept`, until there is no next one.

    Of the source only what a pass hears is read, and of the result only what was made is held.
    """

    def __init__(self, job: Job, config: ModelConfig) -> None:
        source = job.request.source
        if source is None:
            raise ValueError("an edit needs a source")
        if not source.samples:
            raise RequestError("the clip to edit has no samples")
        self.job, self.config, self.rate, self.source = job, config, source.sample_rate, source
        _, self._source_note = to_stereo(np.empty((source.channels, 0)))
        self._reduction = 1.0
        self.channels = min(source.channels, 2)
        self.offset = round(job.request.offset * self.rate)
        asked = round((job.request.seconds or 0.0) * self.rate)
        self.known = (self.offset, self.offset + source.samples)
        self.samples = max(asked, self.known[1])
        self.result = PatchedAudio(source, self.channels, self.samples, self.offset)
        self.regions = self._regions()
        self.windows = list(self._windows())
        self.passes = 0
        self.findings: list[Finding] = []

    @property
    def sound(self) -> np.ndarray:
        """The whole sound as far as it is made (channels, samples), a copy."""
        return self.result.read(0, self.samples)

    def clip(self, record: Mapping[str, Any]) -> Clip:
        """Return the result with the record of how it was made, in memory unless the source is not."""
        streamed = StreamedClip(self.result, self.rate, record, self.source.source_format)
        return streamed if isinstance(self.source, StreamedClip) else streamed.loaded()

    @property
    def is_all_new(self) -> bool:
        """Whether the whole sound is varied, with nothing kept."""
        return not self.regions

    @property
    def mode(self) -> str:
        if self.is_all_new:
            return "vary"
        return "extend" if self.samples > self.source.samples else "inpaint"

    @property
    def passes_left(self) -> int:
        return len(self.windows) - self.passes

    @property
    def notes(self) -> list[str]:
        """What a user should know about this edit."""
        notes = [self._source_note] if self._source_note else []
        if self._reduction < 1:
            decibels = -20 * np.log10(self._reduction)
            notes.append(f"new sound was turned down by up to {decibels:.1f} dB to stay within full scale")
        return notes

    def _regions(self) -> tuple[Span, ...]:
        """Join the regions asked for with all that the source does not reach."""
        spans = [(round(start * self.rate), round(end * self.rate)) for start, end in self.job.request.regions]
        new = [span for span in ((0, self.known[0]), (self.known[1], self.samples)) if span[0] < span[1]]
        if new and self.job.request.noise < 1:
            raise RequestError(
                f"noise {self.job.request.noise:g} varies what is there, and there is nothing before or behind a clip",
                "leave out noise, or leave it at 1, to continue a clip",
            )
        joined: list[Span] = []
        for start, end in sorted([*spans, *new]):
            end = min(end, self.samples)
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            elif start < end:
                joined.append((start, end))
            else:
                raise RequestError(f"a region of {self.job.request.regions} is shorter than one sample")
        return tuple(joined)

    # Passes

    def _windows(self) -> Iterator[Window]:
        limit = int(self.config.max_seconds * self.rate)
        if self.samples <= limit:
            yield Window(0, self.samples, self.regions)
            return
        if self.is_all_new:
            raise RequestError(
                f"the clip is {self.samples / self.rate:.4g} s long and this model varies at most "
                f"{self.config.max_seconds:.4g} s in one piece",
                "cut the clip (`soundloom trim`, or --trim START,END), or vary regions of it",
            )
        if self.job.request.compat.keep != "samples":
            raise RequestError(
                f"the result would be {self.samples / self.rate:.4g} s long, and published systems edit at most "
                f"{self.config.max_seconds:.4g} s with this model",
                "leave out compat, or cut the clip (`soundloom trim`, or --trim START,END)",
            )
        low, high = self.known
        for piece, forward in self._pieces(limit // 2):
            start, stop = piece
            low, high = min(low, start), max(high, stop)
            # A later piece lies beyond the edge that this one is made towards: do not look there.
            left = low if forward or stop == self.known[0] else start
            right = high if stop in {end for _, end in self.regions} or not forward else stop
            yield _around(piece, max(left, 0), right, limit)

    def _pieces(self, longest: int) -> Iterator[tuple[Span, bool]]:
        """Cut regions into pieces, each beginning where something is known; say whether time runs forward.

        Each makes the last of the one before it again, so that the two are joined by a crossfade.
        """
        step = longest - min(round(self.job.request.crossfade * self.rate), longest // 4)
        for start, end in self.regions:
            forward = start > 0
            while end - start > longest:
                if forward:
                    yield (start, start + longest), True
                    start += step
                else:
                    yield (end - longest, end), False
                    end -= step
            yield (start, end), forward

    def measure(self) -> Item:
        """Return the next pass at the model's rate, without its sound."""
        window = self.windows[self.passes]
        seed = (self.job.seed + self.passes) % SEED_LIMIT
        item = make_item(self.job, self.config, (window.stop - window.start) / self.rate, seed)
        scale = self.config.sample_rate / self.rate
        regions = tuple(
            _at_rate((start - window.start, end - window.start), scale, item.samples) for start, end in window.regions
        )
        return replace(item, regions=regions)

    def next_item(self) -> Item | None:
        """Return the next pass at the model's rate, or None when the edit is complete."""
        if not self.passes_left:
            return None
        item, window = self.measure(), self.windows[self.passes]
        heard, _ = to_stereo(self.result.read(window.start, window.stop))
        audio = fit(self._resample(heard, self.rate, self.config.sample_rate), item.samples)
        if self.is_all_new:  # what is shorter than the model knows goes on with itself, not with silence
            audio = np.resize(audio.T, (max(item.samples, round(item.seconds * self.config.sample_rate)), len(audio))).T
        return replace(item, audio=audio)

    def accept(self, made: np.ndarray) -> None:
        """Join what was made of the last item (2, samples at the model's rate) to the sound."""
        window = self.windows[self.passes]
        self.passes += 1
        length = window.stop - window.start
        new = to_channels(fit(self._resample(made, self.config.sample_rate, self.rate), length), self.channels)
        if self.job.request.compat.keep != "samples":
            self.result.lay(0, new)
            return
        new = self._turn_down(new, window)
        if self.is_all_new:
            self.result.lay(0, new)
            return
        start, stop = max(self.known[0], window.start), min(self.known[1], window.stop)
        heard = self.result.read(start, stop)
        fade = round(self.job.request.crossfade * self.rate)
        regions = [(first - window.start, last - window.start) for first, last in window.regions]
        joined = blend(heard, start - window.start, new, regions, fade)
        for first, last in regions:
            self.result.lay(window.start + first, joined[:, first:last].copy())
        self.known = (
            min(self.known[0], *(first for first, _ in window.regions)),
            max(self.known[1], *(last for _, last in window.regions)),
        )

    def _turn_down(self, new: np.ndarray, window: Window) -> np.ndarray:
        """Keep new sound within full scale, since a file could only do so by turning down what is kept as well."""
        spans = window.regions or ((window.start, window.stop),)
        inside = [new[:, first - window.start : last - window.start] for first, last in spans]
        peak = max(float(np.abs(part).max(initial=0.0)) for part in inside)
        if not peak > 1:  # also when it is not a number, which the checks report
            return new
        self._reduction = min(self._reduction, FULL_SCALE / peak)
        return new * np.float32(FULL_SCALE / peak)

    def _resample(self, audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
        if from_rate == to_rate:
            return audio
        published = self.job.request.compat.resampler == "published"
        return (resample_published if published else resample)(audio, from_rate, to_rate)


def _at_rate(region: Span, scale: float, samples: int) -> Span:
    """Return a region at another rate: all samples that it touches, and one where rounding puts it behind the last."""
    start = max(0, min(int(region[0] * scale), samples - 1))
    return start, min(max(math.ceil(region[1] * scale), start + 1), samples)


def require_addition(clip: Clip, seconds: float) -> None:
    """Raise RequestError unless so many seconds are at least one sample of a clip that is to be extended."""
    if not seconds > 0:
        raise RequestError(f"a clip is extended by more than 0 seconds, found {seconds:g}")
    if math.isfinite(seconds) and round(seconds * clip.sample_rate) < 1:
        raise RequestError(
            f"{seconds:g} s are less than one sample at {clip.sample_rate} Hz", "extend by more, such as 1 s"
        )


def _around(piece: Span, low: int, high: int, limit: int) -> Window:
    """Return the window of at most `limit` samples within [low, high) that has the piece nearest its middle."""
    start, stop = piece
    middle = (start + stop - limit) // 2
    first = max(low, min(middle, high - limit))
    return Window(first, min(high, first + limit), (piece,))
