"""Assemble a clip from the passes of its plan.

Positions are samples at the clip's own rate. Only the window of a pass is read of a source, and only generated audio
is held of a result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soundloom.audio.channels import to_channels, to_stereo
from soundloom.audio.checks import FAINT_LEVEL, Finding, Origin, check_audio, loudest
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample, resample_published
from soundloom.audio.streamed_clip import PatchedAudio, StreamedClip
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.inpainting import blend
from soundloom.pipeline.stable_audio.chunks import pad_or_trim
from soundloom.pipeline.stable_audio.plan import PlannedClip, PlannedPass, plan_pass
from soundloom.pipeline.stable_audio.windows import PassWindow

FULL_SCALE = 0.999


class ClipAssembler:
    """Call `next_pass`, generate its audio and hand it to `accept`, until `next_pass` returns None."""

    def __init__(self, plan: PlannedClip, config: ModelConfig, precision: str = "fp32") -> None:
        """`precision` is that of the engine, for the checks of its results."""
        self.plan, self.config = plan, config
        self.origin = Origin(" ".join(plan.request.texts), is_guided=plan.guidance.scale != 1, precision=precision)
        self.passes = 0
        self._pass: PlannedPass | None = None
        self.findings: list[Finding] = []
        self.truncated = ""  # the part of the prompts that the text encoder does not read
        self.notes = [*plan.notes]
        self._gain = 1.0
        self._source: Clip | None = None
        if plan.request.source is not None:
            self._start_from(plan.request.source)

    def _start_from(self, source: Clip) -> None:
        """Lay out the result around a source, which may be the first pass of a new clip."""
        self._source, offset = source, self.plan.offset
        self._known = (offset, offset + source.samples)
        self._result = PatchedAudio(source, self.plan.channels, self.plan.samples, offset)

    @property
    def passes_left(self) -> int:
        return len(self.plan.windows) - self.passes

    def finish(self) -> Clip:
        """Return the result, in memory unless the source is not; complete `notes` and `findings`."""
        if self._source is None:
            raise RuntimeError("no pass has been accepted")
        if self._gain < 1:
            decibels = -20 * np.log10(self._gain)
            self.notes.append(f"new audio was turned down by up to {decibels:.1f} dB to stay within full scale")
        is_new = self.plan.request.source is None
        if is_new and len(self.plan.windows) == 1:
            return self._source
        streamed = StreamedClip(self._result, self.plan.rate, source_format=self._source.source_format)
        clip = streamed if isinstance(self._source, StreamedClip) else streamed.loaded()
        if is_new:  # passes after the first were checked as continuations of a source
            self.findings += check_audio(clip.audio, self.plan.rate, self.origin)
        return clip

    def next_pass(self) -> PlannedPass | None:
        """Return the next pass at the model's rate, or None when the clip is complete."""
        self._pass = self._next_pass() if self.passes_left else None
        return self._pass

    def _next_pass(self) -> PlannedPass:
        planned, window = plan_pass(self.plan, self.config, self.passes), self.plan.windows[self.passes]
        if self._source is None:
            return planned
        rate = self.config.sample_rate
        audio, _ = to_stereo(self._read(window, window.start, window.stop))
        audio = pad_or_trim(self._resample(audio, self.plan.rate, rate), planned.samples)
        if not window.regions:  # sources shorter than the training clips are repeated, not continued with silence
            audio = np.resize(audio.T, (max(planned.samples, round(planned.seconds * rate)), len(audio))).T
        return replace(planned, audio=audio)

    def accept(self, generated: np.ndarray) -> None:
        """Check the audio (2, samples at the model's rate) of the last pass and add it to the result."""
        self._check(generated)
        window = self.plan.windows[self.passes]
        self.passes += 1
        if self._source is None:
            self._start_from(Clip(generated, self.plan.rate))
            return
        new = self._resample(generated, self.config.sample_rate, self.plan.rate)
        new = to_channels(pad_or_trim(new, window.stop - window.start), self.plan.channels)
        if self.plan.request.compat.keep != "samples":
            self._result.lay(0, new)
            return
        new = self._within_full_scale(new, window)
        if not window.regions:
            self._result.lay(0, new)
            return
        start, stop = max(self._known[0], window.start), min(self._known[1], window.stop)
        fade = round(self.plan.request.crossfade * self.plan.rate)
        regions = [(first - window.start, last - window.start) for first, last in window.regions]
        joined = blend(self._read(window, start, stop), start - window.start, new, regions, fade)
        for first, last in regions:
            self._lay(window, window.start + first, joined[:, first:last].copy())
        firsts, lasts = zip(*window.regions, strict=True)
        self._known = min(self._known[0], *firsts), max(self._known[1], *lasts)

    def _read(self, window: PassWindow, start: int, stop: int) -> np.ndarray:
        """Return samples of the result, at positions of the clip as the window rotates it."""
        return np.concatenate([self._result.read(*span) for span in self._rotated(window, start, stop)], axis=1)

    def _lay(self, window: PassWindow, start: int, audio: np.ndarray) -> None:
        for first, last in self._rotated(window, start, start + audio.shape[1]):
            self._result.lay(first, audio[:, : last - first])
            audio = audio[:, last - first :]

    def _rotated(self, window: PassWindow, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the spans of the result that a span of a rotated clip consists of: two where it wraps around."""
        first, last, end = start + window.rotation, stop + window.rotation, self.plan.samples
        spans = [(first, min(last, end)), (max(first, end) - end, last - end)]
        return [(one, other) for one, other in spans if one < other]

    def _check(self, audio: np.ndarray) -> None:
        """Check the new part of the last pass."""
        planned, rate, origin = self._pass, self.config.sample_rate, self.origin
        if planned is None:
            raise RuntimeError("no pass is waiting for its audio")
        if planned.audio is not None:
            is_faint = loudest(planned.audio, rate) < FAINT_LEVEL
            origin = replace(origin, has_source=True, is_faint_source=is_faint, is_region=bool(planned.regions))
        if planned.regions:
            audio = np.concatenate([audio[:, start:end] for start, end in planned.regions], axis=1)
        self.findings += check_audio(audio, rate, origin)

    def _within_full_scale(self, new: np.ndarray, window: PassWindow) -> np.ndarray:
        """Turn new audio down to full scale: saving a louder clip would turn down the preserved samples too."""
        spans = window.regions or ((window.start, window.stop),)
        inside = [new[:, first - window.start : last - window.start] for first, last in spans]
        peak = max(float(np.abs(part).max(initial=0.0)) for part in inside)
        if not peak > 1:  # also when it is not a number, which the checks report
            return new
        self._gain = min(self._gain, FULL_SCALE / peak)
        return new * np.float32(FULL_SCALE / peak)

    def _resample(self, audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
        if from_rate == to_rate:
            return audio
        published = self.plan.request.compat.resampler == "published"
        return (resample_published if published else resample)(audio, from_rate, to_rate)
