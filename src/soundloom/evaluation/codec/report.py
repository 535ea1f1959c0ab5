"""Measure the round trip of a codec over a set of sounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.errors import AudioError, RequestError
from soundloom.evaluation.codec.figures import codec_figures, latent_lines
from soundloom.evaluation.codec.round_trip import RoundTripper, codec_of
from soundloom.evaluation.frontend import UNUSABLE, faults
from soundloom.evaluation.metrics import Metric, mean_metric, share_metrics
from soundloom.evaluation.reports.record import ClipRecord, Report
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.manifest import SoundSet, content_hash, hash_rows
from soundloom.evaluation.sets.metrics import Names, reference_rows, set_metrics
from soundloom.evaluation.sets.report import Measuring
from soundloom.evaluation.spectra import envelope_harmonics
from soundloom.evaluation.subjects import model_facts
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio.model import Model

PREFIX = "codec/"
SILENT_SECONDS = 2.0
MAX_SILENCE = -60.0  # dBFS, peak of decoded silence
MAX_CHUNKED = 1e-4  # largest difference of samples by float32 rounding
CHUNKED_CLIPS = 8  # that are decoded a second and a third time
LOWEST = -200.0  # dBFS, for a peak of exactly 0
# Units and directions of means over clips. Changes are best near 0, and the ratio of onsets near 1.
FIGURES: dict[str, tuple[str, Literal["higher", "lower", ""]]] = {
    "log_mel": ("dB", "lower"),
    "si_sdr": ("dB", "higher"),
    "snr": ("dB", "higher"),
    "mid_log_mel": ("dB", "lower"),
    "mid_si_sdr": ("dB", "higher"),
    "mid_snr": ("dB", "higher"),
    "mid_energy": ("dB", ""),
    "side_log_mel": ("dB", "lower"),
    "side_si_sdr": ("dB", "higher"),
    "side_snr": ("dB", "higher"),
    "side_energy": ("dB", ""),
    "treble": ("dB", ""),
    "transients": ("", ""),
    "loudness_shift": ("LU", ""),
}


@dataclass(frozen=True)
class CodecConfig:
    """At most `clips` sounds, the first `seconds` of each; None for all of them. Raises RequestError."""

    seconds: float | None = 30.0
    clips: int | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds < np.inf:
            raise RequestError(f"seconds must be a number above 0, found {self.seconds:g}")
        if self.clips is not None and self.clips < 1:
            raise RequestError(f"there must be 1 clip or more, found {self.clips}")


@dataclass
class _Found:
    """What was measured so far: records, envelope powers of decoded and real clips, and files to embed."""

    clips: list[ClipRecord] = field(default_factory=list)
    lines: tuple[list[NDArray], list[NDArray]] = field(default_factory=lambda: ([], []))
    chunked: list[float] = field(default_factory=list)
    real: list[SoundItem] = field(default_factory=list)
    decoded: list[SoundItem] = field(default_factory=list)


def evaluate_codec(
    model: Model | MusicModel,
    sounds: SoundSet,
    folder: Path,
    config: CodecConfig = CodecConfig(),
    measuring: Measuring | None = None,
    log: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Encode and decode sounds, and compare them with the originals; write both as WAV files to `folder`.

    Sounds that cannot be read, are silent or not finite, and results that are, count as failures. `measuring` embeds
    both for FAD and KAD. `log` gets clips done and in all.
    """
    started = time.perf_counter()
    codec, items, found = codec_of(model), sounds.items[: config.clips], _Found()
    for number, item in enumerate(items):
        found.clips.append(_measure(codec, item, config, folder, number, found))
        log(number + 1, len(items))
    distances, notes = _distances(found, measuring) if measuring else ((), ())
    seconds = time.perf_counter() - started
    recipes = _recipes(measuring) if measuring and distances else {}
    return Report(
        kind="codec",
        subject=model_facts(model),
        data={**sounds.facts(), "manifest": _manifest(items, config), "seconds": config.seconds, "clips": len(items)},
        metrics=(*_metrics(found), *_silence(codec), *distances),
        recipes=recipes,
        clips=tuple(found.clips),
        cost={"seconds": seconds, "seconds_per_clip": seconds / len(items)},
        notes=notes,
    )


def decoded_files(report: Report, folder: Path) -> dict[tuple[str, int | None], Path]:
    """Return the decoded clips that `evaluate_codec` wrote to a folder, by id."""
    paths = {clip.id: folder / _name("decoded", number) for number, clip in enumerate(report.clips)}
    return {(name, None): path for name, path in paths.items() if path.is_file()}


def _measure(
    codec: RoundTripper, item: SoundItem, config: CodecConfig, folder: Path, number: int, found: _Found
) -> ClipRecord:
    """Measure one sound, and add it to what is embedded."""
    try:
        audio, rate = _beginning(item, config.seconds).read()
    except AudioError as error:
        return ClipRecord(item.id, item.caption, failures=(str(error.args[0]),))
    if wrong := UNUSABLE.intersection(faults(audio, rate)):
        return ClipRecord(item.id, item.caption, failures=tuple(sorted(wrong)))
    trip = codec.run(Clip(audio[:2], rate))
    real, decoded = trip.real.audio, trip.decoded.audio
    if wrong := UNUSABLE.intersection(faults(decoded, codec.rate)):
        return ClipRecord(item.id, item.caption, failures=tuple(f"decoded is {one}" for one in sorted(wrong)))
    figures = codec_figures(decoded, real, codec.rate)
    for powers, sound in zip(found.lines, (decoded, real), strict=True):
        powers.append(envelope_harmonics(sound, codec.rate, codec.latent_rate))
    if len(found.chunked) < CHUNKED_CLIPS:
        figures["chunked_difference"] = codec.chunked_difference(trip.codes)
        found.chunked.append(figures["chunked_difference"])
    for kind, clip, to_embed in (("real", trip.real, found.real), ("decoded", trip.decoded, found.decoded)):
        path = folder / _name(kind, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        clip.save(path, subtype="float", disclosure=False)
        to_embed.append(SoundItem(item.id, path))
    named = {f"{PREFIX}{name}": value for name, value in figures.items() if np.isfinite(value)}
    return ClipRecord(item.id, item.caption, figures=named, failures=tuple(faults(decoded, codec.rate)))


def _beginning(item: SoundItem, seconds: float | None) -> SoundItem:
    """Return the first seconds of a sound, so that a long file is not read as a whole."""
    if seconds is None:
        return item
    return replace(item, end=min(item.start + seconds, np.inf if item.end is None else item.end))


def _name(kind: str, number: int) -> str:
    return f"{kind}/{number:05d}.wav"


def _metrics(found: _Found) -> list[Metric]:
    """Return means over clips, the lines at the latent rate, the largest difference of chunks, and failures."""
    metrics = []
    for name, (unit, direction) in FIGURES.items():
        values = [clip.figures[PREFIX + name] for clip in found.clips if PREFIX + name in clip.figures]
        if values:
            metric = mean_metric(PREFIX + name, values, unit)
            metrics.append(replace(metric, direction=direction, method="bootstrap over clips"))
    count = len(found.real)
    if count:
        excess, interval = latent_lines(*found.lines)
        method = "bootstrap over clips"
        name = f"{PREFIX}latent_lines"
        metrics.append(Metric(name, excess, count, interval, unit="dB", direction="lower", method=method))
        lengths = [abs(clip.figures[f"{PREFIX}missing_samples"]) for clip in found.clips if clip.figures]
        name = f"{PREFIX}missing_samples"
        metrics.append(Metric(name, max(lengths), count, None, 0.0, "at most", direction="lower"))
    if known := [value for value in found.chunked if np.isfinite(value)]:
        name = f"{PREFIX}chunked_difference"
        metrics.append(Metric(name, max(known), len(known), None, MAX_CHUNKED, "at most", direction="lower"))
    failed = [float(not clip.figures) for clip in found.clips]
    return metrics + [
        replace(metric, goal=0.0, bound="at most", direction="lower", method="Wilson")
        for metric in share_metrics(f"{PREFIX}failures", failed)
    ]


def _silence(codec: RoundTripper) -> list[Metric]:
    """Return the peak in dBFS of what becomes of silence."""
    silent = Clip(np.zeros((2, round(SILENT_SECONDS * codec.rate)), np.float32), codec.rate)
    peak = float(np.abs(codec.run(silent).decoded.audio).max(initial=0.0))
    level = 20 * np.log10(peak) if peak > 0 else LOWEST
    return [
        Metric(f"{PREFIX}silence_peak", float(level), 1, None, MAX_SILENCE, "at most", unit="dBFS", direction="lower")
    ]


def _distances(found: _Found, measuring: Measuring) -> tuple[Sequence[Metric], tuple[str, ...]]:
    """Return FAD, KAD and the like of decoded clips against the originals, and notes."""
    if len(found.real) < 2:
        return (), (f"no distance between sets: it needs 2 usable clips or more, found {len(found.real)}",)
    original, decoded = measuring.embed(found.real), measuring.embed(found.decoded)
    recipe, info = measuring.recipe, measuring.embedder.info
    names = Names(info.name, recipe.name, recipe.hash, info.hash)
    result = set_metrics(
        reference_rows(original.rows(recipe)), decoded.rows(recipe), decoded.row_clips(recipe), names, allow_small=True
    )
    return result.metrics, result.warnings


def _recipes(measuring: Measuring) -> Mapping[str, Mapping[str, Any]]:
    recipe, info = measuring.recipe, measuring.embedder.info
    return {recipe.hash[:12]: {**recipe.record(), "embedder_hash": info.hash}}


def _manifest(items: Sequence[SoundItem], config: CodecConfig) -> str:
    """Return the hash of what is encoded: the contents of files, for equal ids can be other sounds."""
    rows = [(item.id, content_hash(item), item.start, item.end, config.seconds) for item in items]
    return hash_rows(sorted(rows, key=lambda row: row[0]))
