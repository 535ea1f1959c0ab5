"""What `measure` finds in audio."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from soundloom.audio.blocks import Stream, as_stream
from soundloom.audio.loudness import integrated_loudness, true_peak
from soundloom.audio.measure.frames import HOPS_PER_SEGMENT, Frames, analyze
from soundloom.audio.measure.key import estimate_key, note_levels
from soundloom.audio.measure.onsets import compressed, envelopes, mean_rises, onset_times, rises
from soundloom.audio.measure.pitch import estimate_pitch
from soundloom.audio.measure.tempo import AnalyzedPart, estimate_tempo
from soundloom.audio.resample import require_rate
from soundloom.errors import AudioError

BLOCK_SECONDS = 0.01  # of the level with which sound begins and ends
SILENCE = 1e-4  # peak, -80 dBFS: quieter audio is silent
AUDIBLE = 10 ** (-50 / 20)  # level at which sound begins and ends, relative to the loudest block


@dataclass(frozen=True)
class Measurement:
    """Properties of audio. None means unsure: the audio has no tempo, key or pitch, or more than one is plausible.

    A confidence is the estimated probability, 0 to 1, that the best guess is right, also where it is not given.
    """

    tempo: float | None  # BPM
    tempo_confidence: float
    key: str | None  # such as "A minor"
    key_confidence: float
    pitch: float | None  # Hz, of a single note
    pitch_confidence: float
    loudness: float  # LUFS, integrated (ITU-R BS.1770-4); -inf for silence
    true_peak: float  # dBTP; -inf for silence
    onsets: tuple[float, ...]  # seconds
    sound_seconds: float  # from the first to the last sound

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, rounded to what is certain; -inf becomes None."""
        values = asdict(self) | {"onsets": list(self.onsets)}
        return {name: _json_value(value) for name, value in values.items()}


def measure(audio: np.ndarray | Stream, rate: int) -> Measurement:
    """Measure audio (channels, samples) or (samples,), float in ±1, at any rate and level, with flat memory.

    Raises AudioError for other arrays, values that are not finite, and rates out of range.
    """
    require_rate(rate)
    stream = _checked(_as_stream(audio))
    peak = stream.peak()
    loudness, highest = integrated_loudness(stream, rate), true_peak(stream, rate)
    if peak < SILENCE:
        return Measurement(None, 0.0, None, 0.0, None, 0.0, loudness, highest, (), 0.0)
    scaled = stream.amplified(1 / peak)
    frames = analyze(scaled, rate)
    parts = analyzed_parts(frames)
    tempo, tempo_confidence = estimate_tempo(parts)
    pitch, pitch_confidence = estimate_pitch(scaled, rate)
    notes = [part.notes for part in parts]
    key, key_confidence = estimate_key(notes) if pitch is None else (None, 0.0)  # one note has no key
    return Measurement(
        tempo,
        tempo_confidence,
        key,
        key_confidence,
        pitch,
        pitch_confidence,
        loudness,
        highest,
        onset_times(mean_rises(frames.bands)),
        sound_seconds(scaled, rate),
    )


def analyzed_parts(frames: Frames) -> list[AnalyzedPart]:
    """Return onsets and notes of each part that is not silent, from its first to its last sound."""
    found = []
    for part in frames.parts:
        bands = frames.bands[part.first : part.stop]
        level = np.sqrt(np.einsum("tb,tb->t", bands, bands))
        audible = np.flatnonzero(level > AUDIBLE * level.max(initial=0.0))
        if not len(audible):
            continue
        first, stop = int(audible[0]), int(audible[-1]) + 1
        levels = compressed(bands[first:stop], float(level.max()))
        rise = rises(levels)
        notes = note_levels(part.pitches[first // HOPS_PER_SEGMENT : -(-stop // HOPS_PER_SEGMENT)])
        found.append(AnalyzedPart(envelopes(rise), levels, notes, onset_times(rise.mean(axis=1))))
    return found


def sound_seconds(stream: Stream, rate: int) -> float:
    """Return the time from the first to the last block of 10 ms within 50 dB of the loudest."""
    size = max(1, round(BLOCK_SECONDS * rate))
    level = np.array([np.sqrt(np.mean(chunk**2, dtype=np.float64)) for chunk in stream.chunks(size)])
    loud = np.flatnonzero(level > AUDIBLE * level.max(initial=0.0))
    return min(int(loud[-1] + 1) * size, stream.samples) / rate - int(loud[0]) * size / rate if len(loud) else 0.0


def _as_stream(audio: np.ndarray | Stream) -> Stream:
    if isinstance(audio, Stream):
        return audio
    audio = np.atleast_2d(audio)
    if audio.ndim != 2 or not len(audio) or audio.dtype.kind != "f":
        raise AudioError(
            f"audio to measure must be floats (channels, samples), found {audio.dtype} of shape {audio.shape}",
            "divide integers by full scale",
        )
    return as_stream(audio)


def _checked(stream: Stream) -> Stream:
    def blocks() -> Iterator[np.ndarray]:
        for block in stream.blocks():
            if not np.isfinite(block).all():
                raise AudioError("the audio has values that are not finite, so it cannot be measured")
            yield block

    return replace(stream, blocks=blocks)


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
