"""Held-out labels and wordings for evaluation, which training never sees.

A hash decides which combinations of source and pitch, key or tempo are held out: a model must generalize to them from
other combinations. The wordings below are outside the grammar of training captions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from soundloom.datasets.synthetic.captions import facts, with_adjectives
from soundloom.datasets.synthetic.families import sample_labels, sample_source
from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.tuning import plain, tuned
from soundloom.datasets.synthetic.vocabulary import nouns

HELD_OUT_ONE_IN = 16
SALT = "soundloom"

# The braces stand for the noun with adjectives before and facts after it.
TEMPLATES = (
    "please play {}",
    "give me {}",
    "I would like to hear {}",
    "we listen to {}",
    "{}, please",
    "make this: {}, nothing else",
)


@dataclass(frozen=True)
class HeldOutPrompt:
    """A prompt with a held-out wording and, where the family has pitch, key or tempo, held-out labels."""

    text: str
    labels: Labels
    latent_period: int = 0  # samples per latent that its reference sound is tuned to, see `tuning.tuned`

    @property
    def reference_labels(self) -> Labels:
        """Labels of the reference sound."""
        return tuned(self.labels, self.latent_period) if self.latent_period else self.labels


def is_held_out(labels: Labels) -> bool:
    """Whether this combination of source, pitch, key and tempo, or that of its layer, is held out."""
    if labels.layer is not None and is_held_out(labels.layer):
        return True
    if not (labels.hz or labels.key or labels.bpm):
        return False
    pitch = labels.note or round(labels.hz)
    text = f"{SALT}/{labels.family}/{labels.variant}/{pitch}/{round(labels.hz_to)}/{labels.key}/{labels.bpm}"
    return crc32(text.encode()) % HELD_OUT_ONE_IN == 0


def held_out_prompts(count: int, seed: int = 0, seconds: float | None = None) -> tuple[HeldOutPrompt, ...]:
    """Sample prompts with held-out labels of single sources; a smaller count is a prefix of a larger one."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    prompts: list[HeldOutPrompt] = []
    while len(prompts) < count:
        labels = sample_labels(rng, seconds)
        if is_held_out(labels) and labels.layer is None:
            prompts.append(HeldOutPrompt(_wording(labels, rng), labels))
    return tuple(prompts)


def family_prompts(
    families: Sequence[str],
    count: int,
    seed: int = 0,
    seconds: float | None = None,
    reverb: bool = True,
    is_plain: bool = False,
    latent_period: int = 0,
) -> tuple[HeldOutPrompt, ...]:
    """Sample prompts of the given families in turn; a smaller count is a prefix of a larger one.

    Labels with a pitch, key or tempo are held out; for others, such as rain, only the wording is new. `is_plain` and
    `latent_period` simplify the sounds as `tuning` does.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    prompts: list[HeldOutPrompt] = []
    while len(prompts) < count:
        labels = sample_source(families[len(prompts) % len(families)], rng, seconds)
        labels = plain(labels) if is_plain else labels
        labels = labels if reverb else replace(labels, reverb="")
        if is_held_out(labels) or not (labels.hz or labels.key or labels.bpm):
            prompts.append(HeldOutPrompt(_wording(labels, rng), labels, latent_period))
    return tuple(prompts)


def _wording(labels: Labels, rng: np.random.Generator) -> str:
    known = [fact for fact in facts(labels) if fact.chance > 0.5]
    adjectives = [fact.before[0] for fact in known if not fact.after]
    phrases = [fact.after[0].removeprefix(", ") for fact in known if fact.after]
    sound = f"{with_adjectives(nouns(labels)[0], adjectives)} {', '.join(phrases)}".strip()
    return str(rng.choice(TEMPLATES)).format(sound)
