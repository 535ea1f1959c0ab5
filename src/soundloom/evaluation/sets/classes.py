"""Compare the classes that a network names in clips with those in the real sounds of the same captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import AudioError
from soundloom.evaluation.distances.divergence import class_probabilities, kl_divergence
from soundloom.evaluation.embedders.base import Classifier
from soundloom.evaluation.embedding import Log
from soundloom.evaluation.frontend import batches, prepare
from soundloom.evaluation.metrics import Metric, mean_metric
from soundloom.evaluation.recipes import Recipe
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.metrics import Names

FORWARD, BACKWARD = "kl_reference_generated", "kl_generated_reference"

Floats = NDArray[np.float64]


def pair_by_caption(sounds: Sequence[SoundItem], real: Sequence[SoundItem]) -> list[tuple[SoundItem, SoundItem]]:
    """Pair clips with real sounds of the same id, as `rain@7` and `rain`, and the same caption."""
    known = {item.id: item for item in real}
    pairs = ((item, known.get(item.id) or known.get(item.id.rpartition("@")[0])) for item in sounds)
    return [(item, other) for item, other in pairs if other and other.caption == item.caption]


def class_metrics(
    pairs: Sequence[tuple[SoundItem, SoundItem]],
    classifier: Classifier,
    recipe: Recipe,
    names: Names,
    log: Log = lambda done, total: None,
) -> tuple[list[Metric], dict[str, dict[str, float]]]:
    """Return the divergence of classes in both directions, and the figures of clips by id; unusable clips have none.

    Logits are averaged over the windows of a clip, then a softmax makes them probabilities.
    """
    found: dict[str, dict[str, float]] = {}
    for done, (clip, real) in enumerate(pairs, 1):
        try:
            ours, theirs = (_probabilities(item, classifier, recipe) for item in (clip, real))
        except AudioError:
            continue
        finally:
            log(done, len(pairs))
        values = {FORWARD: kl_divergence(theirs, ours), BACKWARD: kl_divergence(ours, theirs)}
        found[clip.id] = {names.metric(figure, 0, 0).name: float(value) for figure, value in values.items()}
    metrics = []
    for figure in (FORWARD, BACKWARD):
        name = names.metric(figure, 0, 0).name
        if values_of := [figures[name] for figures in found.values()]:
            mean = mean_metric(name, values_of, "")
            method = "bootstrap over clips"
            metrics.append(
                names.metric(figure, mean.value, mean.count, interval=mean.interval, method=method, direction="lower")
            )
    return metrics, found


def _probabilities(item: SoundItem, classifier: Classifier, recipe: Recipe) -> Floats:
    """Return the probabilities (classes,) of a sound. Raises AudioError."""
    audio, rate = item.read()
    windows = prepare(audio, rate, classifier.info, recipe)
    logits = np.concatenate([classifier.classify(batch) for batch in batches(windows, classifier.info.batch)])
    return class_probabilities(logits[None], "mean of logits", "softmax")[0, 0]
