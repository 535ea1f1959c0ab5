"""Random short pieces of music of known tempo and key: drum grooves, bass lines, chords, arpeggios and melodies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.midi import DRUMS, Note, Score
from benchmarks.styles import ACCENTS, CRASH, HIGH_TOM, LOW_TOM, SNARE, STYLES, Style

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {  # degrees, 0 = tonic; one or two per bar
    "major": (
        *((0, 4, 5, 3), (0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (1, 4, 0, 0), (0, 2, 3, 4), (5, 3, 0, 4)),
        *((0, 4, 0, 4), (0, 3, 1, 4), (3, 4, 0, 5), (0, 0, 3, 4)),
    ),
    "minor": (
        *((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 5, 3, 4), (0, 3, 6, 2), (0, 0, 5, 6), (5, 6, 0, 0)),
        *((0, 2, 6, 3), (0, 4, 0, 4), (0, 6, 5, 4), (3, 4, 0, 0)),
    ),
}
BASSES = (32, 33, 34, 35, 36, 38, 39, 43)
CHORDS = (0, 1, 2, 4, 5, 6, 16, 17, 18, 19, 24, 25, 26, 27, 46, 48, 49, 50, 51, 52, 61, 62, 63, 80, 81, 88, 89, 90, 91)
PLUCKED = (0, 1, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 24, 25, 26, 27, 45, 46, 80, 81, 104, 105, 107, 108, 114)
LEADS = (0, 4, 11, 12, 22, 24, 26, 40, 42, 56, 57, 60, 64, 65, 68, 71, 73, 74, 75, 80, 81, 82, 104)
PARTS = (  # what a piece has, each as likely as its number
    (3, ("drums",)),
    (1, ("bass",)),
    (2, ("drums", "bass")),
    (3, ("drums", "bass", "chords")),
    (3, ("chords",)),
    (2, ("chords", "bass")),
    (2, ("arpeggio",)),
    (2, ("arpeggio", "drums")),
    (1, ("arpeggio", "chords")),
    (2, ("melody", "chords")),
    (2, ("melody", "chords", "bass", "drums")),
)


@dataclass(frozen=True)
class Piece:
    """A piece with its style, tempo in BPM, and key ("" if it has no pitched part)."""

    score: Score
    style: str
    parts: tuple[str, ...]
    bpm: float
    key: str


@dataclass
class _Band:
    """The musicians of one piece: random choices that hold throughout, and the notes so far."""

    rng: np.random.Generator
    style: Style
    bpm: float
    tonic: int
    mode: str
    bars: int
    swing: float
    jitter: float
    notes: list[Note] = field(default_factory=list)
    programs: dict[int, int] = field(default_factory=dict)
    degrees: tuple[int, ...] = ()

    @property
    def step(self) -> float:
        """Seconds per step."""
        return 60 / self.bpm / self.style.per_beat

    def play(self, step: float, length: float, channel: int, pitch: int, velocity: int) -> None:
        """Add a note at a step counted from the start, with human timing."""
        late = self.swing * (int(step) % 2) if self.style.per_beat == 4 and step == int(step) else 0.0
        start = max(0.0, (step + late) * self.step + self.rng.normal(0, self.jitter))
        level = int(np.clip(velocity + self.rng.normal(0, 5), 20, 127))
        self.notes.append(Note(start, max(0.03, length * self.step), channel, int(np.clip(pitch, 0, 127)), level))

    def pitch(self, degree: int, lowest: int) -> int:
        """MIDI pitch of a degree of the scale above the first tonic from `lowest` up."""
        octave, step = divmod(degree, 7)
        return lowest + (self.tonic - lowest) % 12 + 12 * octave + SCALES[self.mode][step]

    def chord(self, degree: int, lowest: int, size: int = 3) -> list[int]:
        """Pitches of the chord on a degree, in close position from `lowest` up; the dominant of minor is major."""
        pitches = [self.pitch(degree + 2 * i, lowest) for i in range(size)]
        if self.mode == "minor" and degree == 4:
            pitches[1] += 1
        return pitches

    def degree_at(self, bar: int) -> int:
        """Degree of the chord of a bar."""
        return self.degrees[bar % len(self.degrees)]


def sample_piece(rng: np.random.Generator, seconds: float = 12.5) -> Piece:
    """Sample a piece of at least this length."""
    name = str(rng.choice(tuple(STYLES)))
    style = STYLES[name]
    weights = np.array([weight for weight, _ in PARTS], float)
    parts = PARTS[rng.choice(len(PARTS), p=weights / weights.sum())][1]
    bpm = float(rng.integers(style.low_bpm, style.high_bpm + 1))
    bars = int(np.ceil(seconds / (60 / bpm / style.per_beat * style.steps)))
    mode = str(rng.choice(("major", "minor")))
    swing = float(rng.uniform(0.15, 0.35)) if rng.random() < style.swing else 0.0
    band = _Band(rng, style, bpm, int(rng.integers(12)), mode, bars, swing, float(rng.choice((0.0, 0.003, 0.008))))
    band.degrees = PROGRESSIONS[mode][rng.integers(len(PROGRESSIONS[mode]))]
    for part in parts:
        {"drums": _drums, "bass": _bass, "chords": _chords, "arpeggio": _arpeggio, "melody": _melody}[part](band)
    key = "" if parts == ("drums",) else f"{NAMES[band.tonic]} {mode}"
    return Piece(Score(tuple(band.notes), band.programs, seconds), name, parts, bpm, key)


def _varied(pattern: str, rng: np.random.Generator) -> str:
    """A pattern with some soft or plain strokes added or left out; accents stay."""
    changes = {".": ".......ox", "x": "xxxxxxo.", "o": "oooo.x"}
    return "".join(str(rng.choice(list(changes.get(mark, mark)))) for mark in pattern)


def _drums(band: _Band) -> None:
    rng, style = band.rng, band.style
    bar = dict(style.drums[rng.integers(len(style.drums))])
    if rng.random() < 0.4:
        changed = list(bar)[rng.integers(len(bar))]
        bar[changed] = _varied(bar[changed], rng)
    if len(bar) > 2 and rng.random() < 0.2:
        bar.pop(list(bar)[rng.integers(len(bar))])
    band.programs[DRUMS] = int(rng.choice((0, 0, 8, 16, 24, 25, 32, 40)))
    fills = rng.random() < 0.3
    for number in range(band.bars):
        is_fill = fills and number % 4 == 3
        for drum, pattern in bar.items():
            for i, mark in enumerate(pattern):
                late_fill = is_fill and i >= len(pattern) - style.per_beat
                if mark in ACCENTS and not late_fill:
                    band.play(number * style.steps + i, 0.9, DRUMS, drum, ACCENTS[mark])
        for i in range(style.steps - style.per_beat, style.steps) if is_fill else ():
            band.play(number * style.steps + i, 0.9, DRUMS, int(rng.choice((SNARE, HIGH_TOM, LOW_TOM))), 95)
        if number % 4 == 0 and rng.random() < 0.2:
            band.play(number * style.steps, 2, DRUMS, CRASH, 100)


def _rhythm(band: _Band, kinds: dict[str, tuple[str, ...]]) -> str:
    """A random pattern of one bar for the style: cut or repeated to its steps."""
    per_beat, steps = band.style.per_beat, band.style.steps
    options = kinds["triple"] if per_beat != 4 else kinds["waltz"] if steps == 12 else kinds["four"]
    pattern = options[band.rng.integers(len(options))]
    if per_beat == 3:
        return (pattern * steps)[:steps]
    if per_beat == 6:  # triplets become eighths
        pattern = "".join(mark + "." for mark in pattern)
    return (pattern * steps)[:steps]


BASS_RHYTHMS = {
    "four": (
        *("X...X...X...X...", "X.x.X.x.X.x.X.x.", "X..x..x.X..x..x.", "X.....x.X.......", "..X...X...X...X."),
        *("X..x......x.X...", "X.......X.....x.", "X.xxX.xxX.xxX.xx", "X...............", "x..xx.x.x..xx.x."),
    ),
    "waltz": ("X...........", "X...x...x...", "X.......x...", "X.x.x.x.x.x."),
    "triple": ("X..X..X..X..", "X.xX.xX.xX.x", "X.....X.....", "X....xX....x"),
}
CHORD_RHYTHMS = {
    "four": (
        *("X...............", "X.......X.......", "X...X...X...X...", "..X...X...X...X.", "X..x..x.X..x..x."),
        *("X.x.X.x.X.x.X.x.", "X..x..x...x.x...", "....X.......X...", "X.....x.........", "X..X..X..X..X.X."),
    ),
    "waltz": ("X...........", "....x...x...", "X...x...x...", "X.x.x.x.x.x."),
    "triple": ("X...........", "X..X..X..X..", "..x..x..x..x", "X.xX.xX.xX.x", "X.....X....."),
}


def _lengths(pattern: str, rng: np.random.Generator) -> Iterator[tuple[int, float, int]]:
    """Yield step, length and velocity of each mark; notes are held, or short."""
    marks = [i for i, mark in enumerate(pattern) if mark in ACCENTS]
    share = float(rng.choice((0.4, 0.7, 0.95)))
    for i, after in zip(marks, [*marks[1:], len(pattern)], strict=True):
        yield i, share * (after - i), ACCENTS[pattern[i]]


def _bass(band: _Band) -> None:
    rng = band.rng
    band.programs[0] = int(rng.choice(BASSES))
    pattern, walk = _rhythm(band, BASS_RHYTHMS), rng.random()
    marks = list(_lengths(pattern, rng))
    for number in range(band.bars):
        degree = band.degree_at(number)
        for n, (i, length, velocity) in enumerate(marks):
            offset = 0 if walk < 0.4 or n == 0 else int(rng.choice((0, 0, 4, 7, 2) if walk < 0.8 else (0, 2, 4, 1, -1)))
            band.play(number * band.style.steps + i, length, 0, band.pitch(degree + offset, 28), velocity)


def _chords(band: _Band) -> None:
    rng = band.rng
    band.programs[1] = int(rng.choice(CHORDS))
    pattern, size = _rhythm(band, CHORD_RHYTHMS), 4 if rng.random() < 0.2 else 3
    lowest = int(rng.integers(45, 60))
    marks = list(_lengths(pattern, rng))
    for number in range(band.bars):
        pitches = band.chord(band.degree_at(number), lowest, size)
        pitches = [p - 12 if p > lowest + 16 else p for p in pitches]
        for i, length, velocity in marks:
            for pitch in pitches:
                band.play(number * band.style.steps + i, length, 1, pitch, velocity - 12)


def _arpeggio(band: _Band) -> None:
    rng = band.rng
    band.programs[2] = int(rng.choice(PLUCKED))
    every = int(rng.choice((1, 2, 2))) if band.style.per_beat == 4 else 1 if band.style.per_beat == 3 else 2
    orders = ((0, 1, 2, 3), (0, 1, 2, 1), (3, 2, 1, 0), (0, 2, 1, 2), (0, 1, 2, 3, 2, 1))
    order, lowest = orders[rng.integers(len(orders))], int(rng.integers(50, 70))
    for number in range(band.bars):
        chord = band.chord(band.degree_at(number), lowest)
        pitches = [*chord, chord[0] + 12]
        for n, i in enumerate(range(0, band.style.steps, every)):
            accent = 100 if i % band.style.per_beat == 0 else 82
            band.play(number * band.style.steps + i, 0.9 * every, 2, pitches[order[n % len(order)]], accent)


def _melody(band: _Band) -> None:
    rng = band.rng
    band.programs[3] = int(rng.choice(LEADS))
    beat, position = band.style.per_beat, int(rng.integers(0, 5))
    lengths = (beat / 2, beat, beat, 1.5 * beat, 2 * beat) if beat != 3 else (1, 2, 3, 3, 6)
    step, end = 0.0, band.bars * band.style.steps
    while step < end:
        length = float(rng.choice(lengths))
        if step % beat and (step + length) % beat and rng.random() < 0.7:
            length = beat - step % beat  # return to the beat
        if step % beat == 0 and rng.random() < 0.6:  # chord tones on beats
            degree = band.degree_at(int(step // band.style.steps))
            position = min((degree + k for k in (-7, -5, -3, 0, 2, 4, 7)), key=lambda p: abs(p - position))
        if rng.random() < 0.9:
            band.play(step, 0.9 * length, 3, band.pitch(position, 60), 100)
        position = int(np.clip(position + rng.choice((-2, -1, 1, 2)), -3, 10))
        step += length
