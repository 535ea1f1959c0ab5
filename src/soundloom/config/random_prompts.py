"""Random prompts that fit a model: mini has its own words, others get music, sound effects or both.

The lists are our own. Every prompt depends on its seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Formatter

import numpy as np

from soundloom.config.catalogue import find_entry
from soundloom.config.entries import ModelEntry
from soundloom.config.prompt_templates import MINI
from soundloom.config.values import as_int
from soundloom.errors import RequestError, shown

# The choices of each field; a digit at the end of a field's name, as in {instrument2}, asks for another one.
CHOICES: dict[str, tuple[str, ...]] = {
    # All words of these are in the captions of mini.
    "wave": ("sine", "square", "triangle", "sawtooth"),
    "note": ("C3", "E3", "G3", "A3", "C4", "D4", "E4", "F4", "G4", "A4", "C5", "D5", "E5", "G5", "A5"),
    "low_note": ("C2", "D2", "E2", "F2", "G2", "A2"),
    "side": ("", "", "", " on the left", " on the right"),
    "count": ("two", "three", "four", "five"),
    "bell": ("bell", "church bell", "glockenspiel note"),
    "bass": ("bass note", "deep sub bass", "sub bass note"),
    "string": ("guitar", "harp", "banjo"),
    "drum": ("kick drum", "snare", "hi-hat", "clap", "tom", "shaker", "rimshot", "cowbell"),
    "groove": ("house", "techno", "hip hop", "reggae", "funk", "rock", "trap", "latin"),
    "mini_bpm": ("80", "81", "92", "108", "129", "144", "160"),  # which mini plays within 1 %
    "rain": ("rain", "light rain", "heavy rain", "a drizzle", "a downpour", "pouring rain"),
    "noise": ("white", "pink", "brown"),
    "siren": ("police", "ambulance"),
    # For other models.
    "bpm": tuple(map(str, range(64, 176, 2))),
    "genre": (
        *(
            "ambient",
            "bossa nova",
            "chillhop",
            "deep house",
            "disco",
            "downtempo",
            "drum and bass",
            "dub",
            "dub techno",
        ),
        *(
            "electro swing",
            "film score",
            "flamenco",
            "folk",
            "funk",
            "future bass",
            "gospel",
            "indie rock",
            "jazz trio",
        ),
        *(
            "latin jazz",
            "lo-fi hip hop",
            "minimal techno",
            "neo soul",
            "orchestral",
            "post-rock",
            "reggae",
            "synthwave",
        ),
        *("trance", "trip hop", "waltz"),
    ),
    "mood": (
        *("bright", "brooding", "calm", "cheerful", "cinematic", "dreamy", "driving", "playful", "euphoric", "gentle"),
        *("hypnotic", "melancholic", "mysterious", "nostalgic", "restless", "spacious", "tense", "warm"),
    ),
    "instrument": (
        *("acoustic guitar", "analog synths", "brass section", "cello", "clarinet", "electric piano", "felt piano"),
        *("fretless bass", "hand percussion", "harp", "jazz drums", "kalimba", "marimba", "muted trumpet"),
        *("pedal steel", "plucked strings", "saxophone", "string quartet", "upright bass", "vibraphone"),
        "wooden flute",
    ),
    "source": (
        *("a bicycle bell", "a book falling shut", "a camera shutter", "a cork leaving a bottle", "a distant storm"),
        *("a drawer sliding open", "a glass marble rolling", "a heavy iron gate", "a kettle beginning to boil"),
        *("a match being struck", "a music box winding down", "a paper bag crumpling", "a rusty hinge"),
        *("a small waterfall", "a spaceship door", "a steam train leaving", "a typewriter", "a wooden boat creaking"),
        *("an old elevator", "boots on gravel", "bubbles in a deep tank", "coins on a counter", "frogs at a pond"),
        *("dry leaves underfoot", "hail on a window", "ice cracking on a lake", "rain on a tent", "waves on pebbles"),
        "wind in a chimney",
    ),
    "place": (
        *("close up, very dry", "from the next room", "in a concrete stairwell", "in a large empty hall"),
        *("in a quiet room", "outdoors at night", "recorded on worn tape", "through a small radio"),
        "with a long metallic reverb",
    ),
}
MINI_PATTERNS = (
    "a {wave} tone in {note}{side}",
    "{count} beeps in {note}{side}",
    "a {bell} in {note}{side}",
    "a {bass} in {low_note}",
    "a {string} note in {note}{side}",
    "a {drum} loop, {mini_bpm} BPM{side}",
    "a {groove} drum loop, {mini_bpm} BPM",
    "{rain}{side}",
    "{noise} noise{side}",
    "a {siren} siren{side}",
)
MINI_KINDS = (
    "tone",
    "beeps",
    "bell",
    "bass",
    "string",
    "drum loop",
    "beat",
    "rain",
    "noise",
    "siren",
)  # of the patterns
MUSIC_PATTERNS = (
    "{mood} {genre}, {instrument} and {instrument2}, {bpm} BPM",
    "TrackType: Music, VocalType: Instrumental, a {mood} {genre} track with {instrument}, {bpm} BPM",
    "TrackType: Instrument, {mood} solo {instrument} with room ambience",
)
EFFECT_PATTERNS = ("{source}, {place}", "TrackType: SFX, {source}, {place}")
MUSICGEN_PATTERNS = (
    "a {mood} {genre} piece with {instrument} and {instrument2}, {bpm} BPM",
    "{mood} and {mood2} {genre} with {instrument}",
)


def random_prompt(model: str = MINI, seed: int | None = None, *, sounds: Sequence[str] = ()) -> str:
    """Return a random prompt that fits a model, such as "a harp note in E4 on the left" for mini.

    `model` is a name of the catalogue. A model in a folder may list the `sounds` that it knows: the prompt names one.
    Equal seeds give equal prompts. Raises RequestError for a seed that is not an integer of 0 or more.
    """
    rng = _generator(seed)
    entry = find_entry(model)
    if entry is None and sounds:
        return str(rng.choice(list(sounds)))
    return _filled(str(rng.choice(_patterns(entry))), rng)


def mini_prompts(seed: int | None = None) -> dict[str, str]:
    """Return a random prompt for each kind of sound that mini knows. Raises RequestError as `random_prompt` does."""
    rng = _generator(seed)
    return {kind: _filled(pattern, rng) for kind, pattern in zip(MINI_KINDS, MINI_PATTERNS, strict=True)}


def _generator(seed: int | None) -> np.random.Generator:
    if seed is not None and as_int("seed", seed) < 0:
        raise RequestError(f"a seed must be 0 or more, found {shown(seed)}")
    return np.random.default_rng(seed)


def _patterns(entry: ModelEntry | None) -> Sequence[str]:
    if entry is not None and entry.is_musicgen:
        return MUSICGEN_PATTERNS
    name = entry.name if entry else ""
    if name == MINI:
        return MINI_PATTERNS
    return EFFECT_PATTERNS if "sfx" in name else MUSIC_PATTERNS if "music" in name else MUSIC_PATTERNS + EFFECT_PATTERNS


def _filled(pattern: str, rng: np.random.Generator) -> str:
    """Fill the fields of a pattern; fields of one kind get different values."""
    values: dict[str, str] = {}
    for field in [field for _, field, _, _ in Formatter().parse(pattern) if field]:
        left = [choice for choice in CHOICES[field.rstrip("2")] if choice not in values.values() or not choice]
        values[field] = str(rng.choice(left))
    return re.sub(r"\ba (?=[aeiou])", "an ", pattern.format(**values))
