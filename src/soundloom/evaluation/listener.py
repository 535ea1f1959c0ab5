"""A listener that names the kind of a sound by rules on measured features; nothing in it is trained.

Families that the ear cannot tell apart share a kind: a held flute note and a tone, a piano and a plucked string. How
often it names clean renderings of the synthetic world rightly is measured and stated in `docs/evaluation.md`.
"""

from __future__ import annotations

from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.evaluation.features import Features, measure

NOTHING = "nothing"
HIGHEST_BASS = 101.0  # Hz; the world's basses end at G2, 98 Hz
BELL_MARGIN = 0.1  # by which a bell's partials must explain a spectrum better than harmonics do
NOTE_LINES = 3.5  # how far lines stand out in a sound that has pitch
OCTAVES = ("30", "60", "120", "250", "500", "1000", "2000", "4000", "8000")  # Hz where those of `density` begin
STRUCK_INSTRUMENTS = ("piano", "electric piano", "marimba")


def hear(audio: NDArray, rate: int) -> str:
    """The kind of sound that a clip (channels, samples) is."""
    features = measure(audio, rate)
    return name_of(features) if features else NOTHING


def name_of(heard: Features) -> str:
    """The kind of sound with these features."""
    if is_gliding(heard):
        return name_glide(heard)
    if heard.lines > NOTE_LINES and not is_beaten(heard):
        return name_notes(heard)
    if is_beaten(heard):
        return name_strokes(heard)
    return name_noise(heard)


def is_gliding(heard: Features) -> bool:
    """Whether one line moves smoothly through a sound that does not pause."""
    steady = heard.sounding > 0.9 and heard.wavering < 1.2 and not is_chord(heard)
    return steady and heard.pitch_range > 3 and heard.smoothness > 0.75 and heard.low > HIGHEST_BASS


def name_glide(heard: Features) -> str:
    return "sweep" if abs(heard.rising) > 0.95 else "siren"


def is_beaten(heard: Features) -> bool:
    """Whether the clip is made of short strokes without a held pitch."""
    short = heard.wavering > 3.5 and heard.hold < 0.2 and heard.lines < 6
    return bool(heard.strokes) and short and not is_chord(heard)


def name_strokes(heard: Features) -> str:
    if len(heard.strokes) < 3:
        return "drum hit"
    return "drum loop" if heard.colours > 0.12 else "single drum loop"


def name_notes(heard: Features) -> str:
    if is_beeping(heard):
        return "alarm" if _match(heard.harmonic) > _match(heard.sine) else "beeps"
    if is_tune(heard):
        return "tune"
    if is_chord(heard):
        return "pad" if heard.attack > 0.22 else "chord"
    falls = heard.fall < -6 and heard.sounding < 0.85
    if falls and is_bell(heard):
        return "bell"
    if lowest_note(heard) < HIGHEST_BASS:
        return "bass"
    return "pluck" if falls else "tone"


def is_beeping(heard: Features) -> bool:
    """Whether short tones of even level stand in silence."""
    each = heard.sounding * heard.seconds / max(len(heard.strokes), 1)
    short = heard.sounding < 0.7 and each < 0.45 and heard.hold > 0.085
    return bool(heard.strokes) and short and heard.pitch_range < 1 and heard.wavering > 4


def is_tune(heard: Features) -> bool:
    """Whether several notes follow each other; a pad's slow beating has no even steps."""
    even = heard.evenness < 0.12 and heard.wavering > 0.8
    return len(heard.strokes) > 4 and (even or (heard.wavering > 4.2 and heard.attack < 0.22))


def is_chord(heard: Features) -> bool:
    single = max(_match(heard.sine), _match(heard.harmonic), _match(heard.bell))
    return _match(heard.chord) > max(single + 0.05, 0.75)


def is_bell(heard: Features) -> bool:
    return _match(heard.bell) > max(_match(heard.harmonic) + BELL_MARGIN, 0.8)


def lowest_note(heard: Features) -> float:
    """Hz of the note that the better of two simple explanations names."""
    notes = [note for note in (heard.sine, heard.harmonic) if note]
    return max(notes, key=lambda note: note.match).hz if notes else 0.0


def name_noise(heard: Features) -> str:
    level = dict(zip(OCTAVES, heard.density, strict=True))
    loudest = max(level, key=lambda octave: level[octave])
    if loudest in ("1000", "2000", "4000", "8000") and level["120"] < -14:
        return name_hiss(level)
    if loudest in ("120", "250", "500") and level["30"] < -8:
        return "wind"
    return "noise"


def name_hiss(level: dict[str, float]) -> str:
    """Rain is a broad band around 3.5 kHz, tape hiss lies higher, the radio's lower."""
    if level["1000"] < -15 or level["8000"] < -14:
        return "static"
    return "rain"


def _match(note: object) -> float:
    return float(getattr(note, "match", 0.0))


def kinds_of(labels: Labels) -> set[str]:
    """What the listener may call a sound with these labels."""
    kinds = {_kind(labels)}
    if labels.hz and not labels.key and labels.hz < HIGHEST_BASS and kinds & {"tone", "pluck", "bass"}:
        kinds |= {"bass", "tone" if labels.family == "tone" else "pluck"}
    return kinds


def _kind(labels: Labels) -> str:
    if labels.family == "lead":
        return "tone"
    if labels.family == "instrument":
        return "pluck" if labels.variant in STRUCK_INSTRUMENTS else "tone"
    if labels.family in ("bass line", "chord progression", "arpeggio", "melody"):
        return "tune"
    return labels.family
