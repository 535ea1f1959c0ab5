"""How well sounds match texts, in the space of a text embedder such as CLAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def unit(vectors: ArrayLike) -> Floats:
    """Scale vectors along the last axis to length 1; zeros stay."""
    values = np.asarray(vectors, np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-30)


@dataclass(frozen=True)
class Scores:
    """Cosines of clips with their captions. The cosine of the mean vector is larger; state which is meant."""

    mean_of_cosines: Floats  # (clips,): over the windows of a clip
    cosine_of_mean: Floats  # (clips,): of the mean of the windows' vectors

    @property
    def score(self) -> float:
        """The mean over clips of the mean cosine: the CLAP score."""
        return float(self.mean_of_cosines.mean())


def score(audio: ArrayLike, text: ArrayLike) -> Scores:
    """Score windows (clips, windows, d) against captions (clips, d)."""
    windows, captions = unit(audio), unit(text)
    cosines = (windows * captions[:, None]).sum(axis=-1)
    return Scores(cosines.mean(axis=1), (unit(np.asarray(audio, np.float64).mean(axis=1)) * captions).sum(axis=-1))


def score_windows(windows: ArrayLike, caption: ArrayLike) -> Scores:
    """Score the windows (windows, d) of one clip against its caption (d,); clips may differ in their windows."""
    return score(np.asarray(windows)[None], np.asarray(caption)[None])


@dataclass(frozen=True)
class EditScores:
    """Cosines (clips,) of edited clips.

    `target` and `before` are those of the target caption with the edited clip and with the source, `delta` their
    difference. `directional` is the cosine of the change of the sound with the change of the caption, `kept` that of
    the edited clip with its source.
    """

    target: Floats
    before: Floats
    delta: Floats
    directional: Floats
    kept: Floats


def edit(edited: ArrayLike, source: ArrayLike, target_text: ArrayLike, source_text: ArrayLike) -> EditScores:
    """Score edited and source windows (clips, windows, d) against two captions (clips, d) each.

    A target caption names what must be heard after the edit; for removals, what remains.
    """
    after, before = (unit(np.asarray(windows, np.float64).mean(axis=1)) for windows in (edited, source))
    target, caption = unit(target_text), unit(source_text)
    reached, started = (after * target).sum(axis=-1), (before * target).sum(axis=-1)
    directional = (unit(after - before) * unit(target - caption)).sum(axis=-1)
    return EditScores(reached, started, reached - started, directional, (after * before).sum(axis=-1))
