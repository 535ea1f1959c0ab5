"""Plot a clip with Matplotlib: waveform and spectrogram."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from soundloom.audio.blocks import SlidingReader
from soundloom.audio.notebook.waveform import envelope
from soundloom.audio.records import recorded_prompt
from soundloom.errors import AudioError, RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from soundloom.audio.sound import Sound

COLUMNS = 800  # of pictures of long clips
WINDOW_SECONDS = 0.046  # of a spectrum: 2048 samples at 44.1 kHz
ROWS = 200  # of the spectrogram, on a logarithmic scale
LOWEST = 30.0  # Hz
RANGE = 80.0  # dB below the loudest point
MAX_TITLE = 80


def plot_clip(sound: Sound) -> Figure:
    """Return a figure of the waveform of each channel and the spectrogram of their mean.

    Raises RequestError where Matplotlib is missing, and AudioError for a clip without samples.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError(
            "plots need the package matplotlib, which is not installed", "pip install 'soundloom[plot]'"
        ) from error
    if not sound.samples:
        raise AudioError("a clip without samples cannot be plotted")

    class ClipFigure(Figure):
        """A figure that notebooks show without pyplot, which would keep every figure in memory."""

        def _repr_png_(self) -> bytes:
            file = BytesIO()
            self.savefig(file, format="png", dpi=100)
            return file.getvalue()

    figure = ClipFigure(figsize=(9, 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    _plot_waveform(above, sound)
    _plot_spectrogram(below, sound)
    if title := " ".join(recorded_prompt(sound.record).split()):
        title = title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"
        above.set_title(title, parse_math=False)  # a prompt with dollar signs is no formula
    return figure


def _plot_waveform(axes: Any, sound: Sound) -> None:
    low, high = envelope(sound.stream(), COLUMNS)
    times = (np.arange(low.shape[1]) + 0.5) * sound.seconds / low.shape[1]
    for channel, (bottom, top) in enumerate(zip(low, high, strict=True)):
        axes.fill_between(times, bottom, top, alpha=0.6, linewidth=0.6, label=f"channel {channel + 1}")
    axes.set(ylabel="amplitude", xlim=(0, sound.seconds))


def _plot_spectrogram(axes: Any, sound: Sound) -> None:
    levels, edges = spectrogram(sound)
    times = np.linspace(0, sound.seconds, levels.shape[1] + 1)
    mesh = axes.pcolormesh(times, edges, levels, vmin=-RANGE, vmax=0, cmap="magma", rasterized=True)
    axes.set(yscale="log", ylim=(edges[0], edges[-1]), xlabel="seconds", ylabel="Hz")
    axes.figure.colorbar(mesh, ax=axes, label="dB")


def spectrogram(sound: Sound) -> tuple[np.ndarray, np.ndarray]:
    """Return levels (ROWS, columns) in dB below the loudest, and the ROWS + 1 edges of the rows in Hz."""
    rate = sound.sample_rate
    window = 1 << max(6, round(np.log2(WINDOW_SECONDS * rate)))
    columns = max(1, min(COLUMNS, sound.samples * 4 // window))
    starts = ((np.arange(columns) + 0.5) * sound.samples / columns - window / 2).astype(int)
    reader, hann = SlidingReader(sound.stream()), np.hanning(window)
    power = np.empty((window // 2 + 1, columns), np.float32)
    for column, start in enumerate(starts):
        piece = reader[..., max(0, start) : start + window].mean(axis=0)
        before = max(0, -start)
        padded = np.pad(piece, (before, window - before - len(piece)))
        power[:, column] = np.abs(np.fft.rfft(padded * hann)) ** 2
    edges = np.geomspace(min(LOWEST, rate / 8), rate / 2, ROWS + 1)
    bins = np.clip(np.sqrt(edges[1:] * edges[:-1]) * window / rate, 0, window // 2)
    below = np.floor(bins).astype(int)
    share = (bins - below)[:, None]
    rows = power[below] * (1 - share) + power[np.minimum(below + 1, window // 2)] * share
    loudest = max(float(rows.max()), np.finfo(np.float32).tiny)
    levels = 10 * np.log10(np.maximum(rows / loudest, 10 ** (-RANGE / 10)))
    return levels, edges
