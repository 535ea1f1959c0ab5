"""Measure instruments and voices by the tags of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import RequestError

TOP = 3
THRESHOLD = 0.5  # probability from which a window has a tag
VOCALS = (
    *("vocal", "vocals", "voice", "voices", "singing", "singer", "speech", "rap"),
    *("male vocal", "female vocal", "male vocals", "female vocals", "male vocalists", "female vocalists"),
    *("male voice", "female voice", "male singer", "female singer", "male", "female", "man", "woman"),
    *("choir", "choral", "chant"),
)

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class TagScore:
    """`probability` of the tag that was asked for, its `rank` from 1, and the names of the most probable tags."""

    probability: float
    rank: int
    top: tuple[str, ...]

    def is_in_top(self, count: int = TOP) -> bool:
        return self.rank <= count


def tag_probabilities(logits: Floats) -> Floats:
    """Return the mean probability (tags,) over windows of logits (windows, tags); tags are independent (sigmoid)."""
    return np.asarray((0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / 2))).mean(axis=0))


def score_tag(logits: Floats, labels: Sequence[str], tag: str) -> TagScore:
    """Score a tag in logits (windows, tags). Raises RequestError for a tag that the classifier does not know."""
    probabilities = tag_probabilities(logits)
    place = _index(labels, tag)
    order = np.argsort(-probabilities, kind="stable")
    rank = int(np.flatnonzero(order == place)[0]) + 1
    return TagScore(float(probabilities[place]), rank, tuple(labels[index] for index in order[:TOP]))


def vocal_share(logits: Floats, labels: Sequence[str]) -> float:
    """Return the share of windows of logits (windows, tags) that have any tag of voices; NaN if there are no such tags.

    Instrumental music should have 0.
    """
    voices = [index for index, label in enumerate(labels) if label.casefold() in VOCALS]
    if not voices or not len(logits):
        return float("nan")
    return float((np.asarray(logits)[:, voices] > np.log(THRESHOLD / (1 - THRESHOLD))).any(axis=1).mean())


def _index(labels: Sequence[str], tag: str) -> int:
    names = [label.casefold() for label in labels]
    if tag.casefold() not in names:
        raise RequestError(f"the classifier has no tag {tag!r}", f"its tags: {', '.join(labels)}")
    return names.index(tag.casefold())
