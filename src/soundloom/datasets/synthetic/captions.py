"""Generate captions from labels: sentences with many paraphrases, and the tag style of music libraries.

Both state the same facts. Each fact is mentioned often but not always, so that prompts may omit some.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundloom.datasets.synthetic.labels import Labels
from soundloom.datasets.synthetic.sounds import drums, music
from soundloom.datasets.synthetic.sounds.space import WIDE_PAN
from soundloom.datasets.synthetic.vocabulary import GENRES, instrument, nouns

MINIMAL_SHARE = 0.1  # captions that only name the source
TAG_SHARE = 0.35
STRAY_SHARE = 0.3  # of sentences with unrelated words around the description
QUIET_LEVEL = -8.0  # dBFS; clips with a lower peak are called quiet
DARK, BRIGHT = 0.3, 0.7
MUSIC_FAMILIES = (*drums.SOUNDS, *music.SOUNDS)

STRAY_WORDS = (
    *("add", "and", "another", "audio", "can", "could", "create", "film", "find", "for", "game", "generate", "hello"),
    *("here", "I'd", "it", "just", "kind", "know", "mix", "my", "need", "next", "now", "of", "okay", "one", "project"),
    *("put", "record", "really", "render", "sample", "scene", "should", "so", "some", "sound", "take", "thanks"),
    *("that", "the", "there", "time", "today", "track", "try", "use", "very", "video", "want", "with", "write", "yes"),
    *("you", "your"),
)
LETTERS = "eeeetttaaooiinnsshhrrdlcumwfgypbvk"  # roughly at their frequency in English

JOINERS = ("{} and {}", "{} with {}", "{} with {} in the background", "{} over {}", "{}, {}")


@dataclass(frozen=True)
class Fact:
    """An audible property: phrases that go before the noun or after it, and its tag."""

    chance: float  # that a caption mentions it
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tag: tuple[str, str] = ("", "")  # field and value


def random_caption(labels: Labels, rng: np.random.Generator) -> str:
    """Generate one caption, in either style."""
    return tag_caption(labels, rng) if rng.random() < TAG_SHARE else sentence(labels, rng)


def sentence(labels: Labels, rng: np.random.Generator) -> str:
    """Generate a sentence, such as "a dark bell in A4 on the left"."""
    text = _phrase(labels, rng)
    if labels.layer is not None:
        text = str(rng.choice(JOINERS)).format(text, _phrase(labels.layer, rng))
    if rng.random() < STRAY_SHARE:
        text = _among_stray_words(text, rng)
    if rng.random() < 0.2:
        text = text[0].upper() + text[1:]
        return text + "." if rng.random() < 0.5 else text
    return text.lower() if rng.random() < 0.1 else text


def _among_stray_words(text: str, rng: np.random.Generator) -> str:
    """Put unrelated words around a phrase, so that models learn to ignore unknown words."""
    before, after = (" ".join(_stray_word(rng) for _ in range(rng.integers(most))) for most in (5, 3))
    text = f"{before}{rng.choice((' ', ' ', ' ', ': ', ', '))}{text}" if before else text
    return f"{text}{rng.choice((' ', ' ', ', '))}{after}" if after else text


def _stray_word(rng: np.random.Generator) -> str:
    """An English word, or random letters."""
    if rng.random() < 0.6:
        return str(rng.choice(STRAY_WORDS))
    return "".join(rng.choice(tuple(LETTERS), rng.integers(2, 8)))


def tag_caption(labels: Labels, rng: np.random.Generator) -> str:
    """Generate library tags, such as "TrackType: Music, Genre: House, Instruments: Drums, 120 BPM"."""
    named = rng.random() < 0.7
    tags = _tags(labels, rng)
    if labels.layer is not None:
        tags = _merge(tags, _tags(labels.layer, rng))
    # A tempo has no field name.
    return ", ".join(f"{field}: {value}" if named and field else value for field, value in tags)


def _merge(tags: list[tuple[str, str]], more: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Merge values of equal fields: "Instruments: Drums, Bass Guitar"."""
    merged = dict(tags)
    for field, value in more:
        known = merged.get(field, value)
        merged[field] = value if known == value else f"{known}, {value}"
    return list(merged.items())


def facts(labels: Labels) -> list[Fact]:
    """Return all facts about one source."""
    found = [_pitch(labels), _key(labels), _tempo(labels), _pan(labels), _material(labels), _reverb(labels)]
    found += [_brightness(labels), _loudness(labels), _fade(labels), _swing(labels)]
    return [fact for fact in found if fact is not None]


def _pitch(labels: Labels) -> Fact | None:
    if labels.hz_to:
        span = f"from {_hz(labels.hz)} to {_hz(labels.hz_to)}"
        return Fact(0.8, after=(span,), tag=("Pitch", f"{_hz(labels.hz)} to {_hz(labels.hz_to)}"))
    if not labels.hz or labels.key:
        return None
    note, hertz = labels.note, _hz(labels.hz)
    if note is None:
        return Fact(0.9, (hertz,), (f"at {hertz}",), ("Pitch", hertz))
    # Only simple sources have their frequency in hertz: nobody asks for a flute at 1318.5 Hz.
    if labels.family in ("tone", "beeps") and labels.hz == round(labels.hz):
        return Fact(0.9, (hertz, hertz, note), (f"at {hertz}", f"in {note}", f"at {hertz}"), ("Pitch", hertz))
    return Fact(
        0.9, (note,), (f"in {note}", note, f"on {note}", f"tuned to {note}", f"on the note {note}"), ("Note", note)
    )


def _hz(hz: float) -> str:
    return f"{round(hz)} Hz"


def _key(labels: Labels) -> Fact | None:
    if not labels.key:
        return None
    after: tuple[str, ...] = (f"in {labels.key}",)
    if labels.family != "chord":
        after += (f"in the key of {labels.key}", f", {labels.key}")
    return Fact(0.8, (labels.key,), after, ("Key", labels.key))


def _tempo(labels: Labels) -> Fact | None:
    if not labels.bpm:
        return None
    bpm = f"{labels.bpm} BPM"
    return Fact(0.9, (bpm,), (f", {bpm}", f"at {bpm}", f"at {labels.bpm} beats per minute", f", {bpm}"), ("", bpm))


def _pan(labels: Labels) -> Fact | None:
    if labels.pan_to is not None:
        way = ("left to right", "right to left")[labels.pan > labels.pan_to]
        return Fact(0.85, after=(f"from {way}", f"moving from {way}", f"panning {way}"), tag=("Pan", way.title()))
    if abs(labels.pan) < WIDE_PAN:
        centered = ("in the center", "in the middle", "centered")
        return Fact(0.06, after=centered, tag=("Pan", "Center"))
    side = "left" if labels.pan < 0 else "right"
    hard = abs(labels.pan) > 0.9
    after: tuple[str, ...] = (f"on the {side}", f"on the {side} side", f"panned {side}", f"from the {side}")
    after += (f", {side}",)
    if hard:
        after += (f"hard {side}", f"panned hard {side}", f"only on the {side}")
    return Fact(0.85, after=after, tag=("Pan", f"Hard {side.title()}" if hard else side.title()))


def _material(labels: Labels) -> Fact | None:
    if not labels.material:
        return None
    if labels.family in drums.SOUNDS:
        kit = labels.material
        return Fact(0.5, (kit,), (f"with {kit} drums", f"on {kit} drums"), ("Kit", kit.title()))
    return Fact(0.6, after=(f"on {labels.material}",), tag=("Surface", labels.material.title()))


def _reverb(labels: Labels) -> Fact | None:
    if labels.reverb == "room":
        return Fact(0.5, after=("in a room", "in a small room"), tag=("Space", "Room"))
    if labels.reverb == "hall":
        after = ("in a large hall", "with reverb", "with long reverb", "in a hall")
        return Fact(0.7, ("reverberant",), after, ("Space", "Hall"))
    return None


def _brightness(labels: Labels) -> Fact | None:
    if labels.brightness < DARK:
        return Fact(0.65, ("dark", "mellow", "muffled", "warm"), tag=("Tone", "Dark"))
    if labels.brightness > BRIGHT:
        return Fact(0.65, ("bright", "sharp", "brilliant"), tag=("Tone", "Bright"))
    return None


def _loudness(labels: Labels) -> Fact | None:
    if labels.level < QUIET_LEVEL:
        return Fact(0.7, ("quiet", "faint"), tag=("Level", "Quiet"))
    return None


def _fade(labels: Labels) -> Fact | None:
    if labels.fade_in:
        return Fact(0.75, after=("fading in", "that fades in", "slowly fading in"), tag=("Fade", "Fade In"))
    if labels.fade_out:
        return Fact(0.75, after=("fading out", "that fades out", "slowly fading out"), tag=("Fade", "Fade Out"))
    return None


def _swing(labels: Labels) -> Fact | None:
    if labels.swing:
        return Fact(0.7, ("swinging",), ("with swing", "with a swing feel"), ("Feel", "Swing"))
    return None


def _mentioned(labels: Labels, rng: np.random.Generator) -> list[Fact]:
    if rng.random() < MINIMAL_SHARE:
        return []
    return [fact for fact in facts(labels) if rng.random() < fact.chance]


def _phrase(labels: Labels, rng: np.random.Generator) -> str:
    """A noun with some of its facts around it."""
    noun = str(rng.choice(nouns(labels)))
    before: list[str] = []
    after: list[str] = []
    for fact in _mentioned(labels, rng):
        if any(phrase.removeprefix(", ") in noun for phrase in (*fact.before, *fact.after)):
            continue  # the noun states it already
        in_front = bool(fact.before) and len(before) < 2 and (not fact.after or rng.random() < 0.35)
        target, phrases = (before, fact.before) if in_front else (after, fact.after)
        if phrases:
            target.append(str(rng.choice(phrases)))
    rng.shuffle(after)
    after.sort(key=lambda phrase: phrase.startswith(","))  # a new clause comes last
    text = with_adjectives(noun, before, article=rng.random() < 0.6)
    return f"{text} {' '.join(after)}".strip().replace(" ,", ",")


def with_adjectives(noun: str, adjectives: list[str], article: bool = True) -> str:
    """Put adjectives before a noun, and correct or drop its article."""
    first, bare = split_article(noun)
    text = " ".join((*adjectives, bare))
    if not (first and article):
        return text
    return f"{first if first == 'the' else indefinite_article(text)} {text}"


def split_article(noun: str) -> tuple[str, str]:
    """Split a noun into its article, which may be empty, and the rest."""
    first, _, rest = noun.partition(" ")
    return (first, rest) if first in ("a", "an", "the") else ("", noun)


def indefinite_article(text: str) -> str:
    """Return "a" or "an" before the words, note names and numbers that occur in captions."""
    letter_f = text[0] == "F" and not text[1:2].isalpha()  # "an F# minor pad", but "a Flute"
    return "an" if letter_f or text[0] in "aeioAEIO8" or text.startswith("upward") else "a"


def _tags(labels: Labels, rng: np.random.Generator) -> list[tuple[str, str]]:
    if labels.family in MUSIC_FAMILIES:
        head = [("TrackType", "Music")]
        if labels.family == "drum loop":
            head.append(("Genre", GENRES.get(labels.variant, labels.variant.capitalize())))
        head.append(("Instruments", instrument(labels)))
        if labels.family in ("arpeggio", "melody", "chord", "chord progression", "bass line", "drum hit"):
            head.append(("Format", labels.family.title()))
    else:
        _, name = split_article(str(rng.choice(nouns(labels))))
        head = [("TrackType", "SFX"), ("Sound", name.capitalize())]
    if rng.random() < 0.3:
        head = head[1:]
    return head + [fact.tag for fact in _mentioned(labels, rng)]
