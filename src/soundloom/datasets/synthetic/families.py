"""Sample the labels of a clip from all families of sounds, and render them."""

from dataclasses import replace

import numpy as np

from soundloom.datasets.synthetic.labels import Labels, Sound
from soundloom.datasets.synthetic.sounds import ambience, drums, effects, events, music, tones
from soundloom.datasets.synthetic.sounds.signals import FloatArray, samples
from soundloom.datasets.synthetic.sounds.space import place, set_peak
from soundloom.errors import RequestError

SOUNDS: dict[str, Sound] = tones.SOUNDS | drums.SOUNDS | music.SOUNDS | ambience.SOUNDS | events.SOUNDS | effects.SOUNDS
FAMILIES = tuple(SOUNDS)

# Second sources of scenes: a tune joins a drum loop at its tempo, a background joins any other source.
TUNES = ("bass line", "chord progression", "arpeggio", "melody")
BACKGROUNDS = ("rain", "wind", "sea", "fire", "engine", "static", "birds", "clock", "footsteps")
SCENE_SHARE = 0.15


def sample_labels(rng: np.random.Generator, seconds: float | None = None) -> Labels:
    """Sample one source, or a scene of two. Without `seconds` the family determines the length."""
    weights = np.array([SOUNDS[family].weight for family in FAMILIES])
    family = str(rng.choice(FAMILIES, p=weights / weights.sum()))
    first = sample_source(family, rng, seconds)
    if rng.random() >= SCENE_SHARE:
        return first
    partners = TUNES if family == "drum loop" else tuple(name for name in BACKGROUNDS if name != family)
    second = sample_source(str(rng.choice(partners)), rng, first.seconds)
    softer = float(rng.uniform(2, 8)) if second.family in BACKGROUNDS else 0.0
    second = replace(second, level=first.level - softer, fade_in=first.fade_in, fade_out=first.fade_out)
    return replace(first, layer=replace(second, bpm=first.bpm) if second.bpm else second)


def sample_source(family: str, rng: np.random.Generator, seconds: float | None = None) -> Labels:
    """Sample the labels of one source of a family, with pan, level, reverb and fades."""
    sound = SOUNDS[family]
    length = round(float(rng.uniform(*sound.seconds)), 2) if seconds is None else seconds
    labels = replace(sound.sample(rng, length), seconds=length, level=_sample_level(rng), reverb=_sample_reverb(rng))
    if labels.pan_to is None:
        labels = replace(labels, pan=_sample_pan(rng))
    return _with_fades(labels, rng)


def _sample_level(rng: np.random.Generator) -> float:
    return float(rng.uniform(-12, -10) if rng.random() < 0.12 else rng.uniform(-5, -1))


def _sample_reverb(rng: np.random.Generator) -> str:
    return str(rng.choice(("", "room", "hall"), p=(0.7, 0.12, 0.18)))


def _sample_pan(rng: np.random.Generator) -> float:
    """Center in 60 % of clips, else clearly on one side."""
    if rng.random() < 0.6:
        return 0.0
    return float(rng.choice((-1.0, 1.0)) * rng.choice((0.5, 0.75, 1.0)))


def _with_fades(labels: Labels, rng: np.random.Generator) -> Labels:
    """Fade a few of the sustained clips in or out."""
    chance = rng.random()
    if labels.family not in (*BACKGROUNDS, "tone", "noise", "pad") or chance > 0.2:
        return labels
    fade = labels.seconds * 0.45
    return replace(labels, fade_in=fade) if chance < 0.1 else replace(labels, fade_out=fade)


def render(labels: Labels, seconds: float, rng: np.random.Generator) -> FloatArray:
    """Render labels to float32 (2, n) at 44100 Hz with n = round(44100 seconds), peak at `labels.level`.

    Raises RequestError for an unknown family or a length outside (0.1, 60].
    """
    if labels.family not in SOUNDS:
        raise RequestError(f"there is no family {labels.family!r} of sounds", f"known: {', '.join(FAMILIES)}")
    if not 0.1 < seconds <= 60:
        raise RequestError(f"cannot render {seconds} s of sound", "use more than 0.1 s and at most 60 s")
    dry = SOUNDS[labels.family].render(labels, samples(seconds), rng)
    placed = place(dry, labels)
    if labels.layer is None:
        return placed
    return set_peak(placed + render(labels.layer, seconds, rng), labels.level)
