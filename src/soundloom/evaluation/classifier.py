"""A listener that names the kind of a sound by rules on measured features; nothing in it is trained.

The rules form a list, and the first that holds names the sound. Families that the ear cannot tell apart share a kind: a
held flute note and a tone, a piano and a plucked string. How often clean renderings of the synthetic world are named
rightly is printed by `benchmarks/classifier.py` and stated in `docs/evaluation.md`: no model can be seen to do better.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.evaluation.features import Features, extract_features
from soundloom.evaluation.pitch import Pitch

NOTHING = "nothing"
HIGHEST_BASS = 101.0  # Hz; the world's basses end at G2, 98 Hz
NOTE_LINES = 3.5  # how far lines stand out in a sound that has pitch
STRUCK_INSTRUMENTS = ("piano", "electric piano", "marimba")
TUNES = ("bass line", "chord progression", "arpeggio", "melody")
# Octaves of `Features.density` by where they begin.
HZ_30, HZ_60, HZ_120, HZ_250, HZ_500, HZ_1000, HZ_2000, HZ_4000, HZ_8000 = range(9)


def classify(audio: NDArray, rate: int) -> str:
    """The kind of sound that a clip (channels, samples) is."""
    features = extract_features(audio, rate)
    return classify_features(features) if features else NOTHING


def classify_features(f: Features) -> str:
    """The kind of sound with these features."""
    return next(kind for kind, holds in RULES if holds(f))


# Sounds that pass by: their level or pitch has one course


def is_riser(f: Features) -> bool:
    return f.rising > 0.85 and f.pitch_range > 25 and f.fall > 2


def is_laser(f: Features) -> bool:
    return f.pitch_range > 30 and f.sounding < 0.4 and -45 < f.fall < -20


def is_explosion(f: Features) -> bool:
    dies = f.sounding < 0.4 and -30 < f.fall < -15
    return dies and f.center < 110 and f.low < 50 and f.lines < 2.8


def is_whoosh(f: Features) -> bool:
    return f.attack > 0.6 and f.wavering > 5.5 and f.lines < 1.7 and 0.6 < f.sounding < 0.85


def is_sweep(f: Features) -> bool:
    return _glides(f) and abs(f.rising) > 0.95


def is_siren(f: Features) -> bool:
    return _glides(f)


def _glides(f: Features) -> bool:
    """Whether one line moves smoothly through a sound that does not pause."""
    steady = f.sounding > 0.9 and f.wavering < 1.2 and not _is_triad(f)
    return steady and f.pitch_range > 3 and f.smoothness > 0.75 and f.low > HIGHEST_BASS


# Strokes


def is_clock(f: Features) -> bool:
    return _ticks(f) and f.pitch_range > 3  # tick and tock


def is_clicks(f: Features) -> bool:
    return _ticks(f)


def _ticks(f: Features) -> bool:
    narrow = f.high < 3.2 * f.low and 1400 < f.center < 4500
    return narrow and f.fall < -900 and f.lines < 2.5 and f.sounding < 0.2


def is_drum_hit(f: Features) -> bool:
    once = len(f.strokes) <= 2 and f.sounding < 0.22
    return once and f.fall < -30 and f.lines < NOTE_LINES


def is_knock(f: Features) -> bool:
    rings = f.lines > 3 and f.pitch_range < 1 and f.hold < 0.08
    return rings and f.fall < -90 and len(f.strokes) <= 5


def is_birdsong(f: Features) -> bool:
    """Cries and chirps with pauses, high, that glide or come unevenly."""
    high = f.low > 1300 and 2400 < f.center < 4800 and f.high < 2.8 * f.low
    wild = f.evenness > 0.4 or (f.smoothness > 0.9 and f.pitch_range > 4)
    return high and wild and f.wavering > 5 and f.lines < 3


def is_drum_loop(f: Features) -> bool:
    return _is_beaten(f) and f.colors > 0.12


def is_single_drum_loop(f: Features) -> bool:
    return _is_beaten(f)


def _is_beaten(f: Features) -> bool:
    """Whether the clip is made of short strokes without a held pitch."""
    short = f.wavering > 3.5 and f.hold < 0.2 and f.lines < 6
    return short and len(f.strokes) > 2 and not _is_triad(f)


# Notes


def is_engine(f: Features) -> bool:
    """A low growl whose every turn is a stroke."""
    turns = len(f.strokes) > 7 * f.seconds and f.sounding > 0.9
    growls = 3 < f.lines < 9 and _single_match(f) < 0.8 and not _is_triad(f)
    return turns and growls and f.center < 210


def is_alarm(f: Features) -> bool:
    return is_beeps(f) and _match(f.harmonic) > 0.68


def is_beeps(f: Features) -> bool:
    """Short tones of even level that stand in silence."""
    each = f.sounding * f.seconds / max(len(f.strokes), 1)
    short = f.sounding < 0.7 and each < 0.45 and f.hold > 0.085
    return _has_pitch(f) and short and f.pitch_range < 1 and f.wavering > 4


def is_tune(f: Features) -> bool:
    """Several notes after each other; a pad's slow beating has no even steps."""
    even = f.evenness < 0.12 and f.wavering > 0.8
    steps = even or (f.wavering > 4.2 and f.attack < 0.22)
    return _has_pitch(f) and steps and len(f.strokes) > 4


def is_pad(f: Features) -> bool:
    return _has_pitch(f) and _is_triad(f) and f.attack > 0.22


def is_chord(f: Features) -> bool:
    return _has_pitch(f) and _is_triad(f)


def is_bell(f: Features) -> bool:
    return _has_pitch(f) and _falls(f) and _match(f.bell) > max(_match(f.harmonic) + 0.1, 0.8)


def is_bass(f: Features) -> bool:
    return _has_pitch(f) and _lowest_note(f) < HIGHEST_BASS


def is_pluck(f: Features) -> bool:
    return _has_pitch(f) and _falls(f)


def is_tone(f: Features) -> bool:
    return _has_pitch(f)


def _has_pitch(f: Features) -> bool:
    return f.lines > NOTE_LINES


def _falls(f: Features) -> bool:
    return f.fall < -6 and f.sounding < 0.85


def _is_triad(f: Features) -> bool:
    return _match(f.chord) > max(_single_match(f) + 0.05, 0.75)


def _single_match(f: Features) -> float:
    """How well a single note explains the spectrum."""
    return max(_match(note) for note in (f.sine, f.harmonic, f.bell))


def _lowest_note(f: Features) -> float:
    """Hz of the note that the better of two simple explanations names."""
    notes = [note for note in (f.sine, f.harmonic) if note]
    return max(notes, key=lambda note: note.match).hz if notes else 0.0


def _match(note: Pitch | None) -> float:
    return note.match if note else 0.0


# Noises


def is_static(f: Features) -> bool:
    """Tape hiss lies higher than rain, the radio's lower; a record crackles down to the bass."""
    level = f.density
    high_or_low = level[HZ_1000] < -15 or level[HZ_8000] < -14
    return _hisses(f) and (high_or_low or level[HZ_250] > -14)


def is_rain(f: Features) -> bool:
    return _hisses(f)


def _hisses(f: Features) -> bool:
    return _loudest(f) >= HZ_1000 and f.density[HZ_120] < -14


def is_wind(f: Features) -> bool:
    return _loudest(f) in (HZ_120, HZ_250, HZ_500) and f.density[HZ_30] < -8


def is_sea(f: Features) -> bool:
    """Rumble that swells, with the hiss of foam."""
    level = f.density
    return _loudest(f) == HZ_60 and level[HZ_250] > -11 and 2000 < f.high < 7500 and f.wavering > 2.3


def is_fire(f: Features) -> bool:
    """A roar with crackles far above it."""
    return _loudest(f) <= HZ_60 and f.density[HZ_250] < -10.5 and 350 < f.high < 3500


def is_noise(f: Features) -> bool:
    return True


def _loudest(f: Features) -> int:
    return f.density.index(max(f.density))


RULES: tuple[tuple[str, Callable[[Features], bool]], ...] = (
    ("riser", is_riser),
    ("laser", is_laser),
    ("explosion", is_explosion),
    ("whoosh", is_whoosh),
    ("sweep", is_sweep),
    ("siren", is_siren),
    ("engine", is_engine),
    ("clock", is_clock),
    ("clicks", is_clicks),
    ("drum hit", is_drum_hit),
    ("knock", is_knock),
    ("birds", is_birdsong),
    ("drum loop", is_drum_loop),
    ("single drum loop", is_single_drum_loop),
    ("alarm", is_alarm),
    ("beeps", is_beeps),
    ("tune", is_tune),
    ("pad", is_pad),
    ("chord", is_chord),
    ("bell", is_bell),
    ("bass", is_bass),
    ("pluck", is_pluck),
    ("tone", is_tone),
    ("static", is_static),
    ("rain", is_rain),
    ("wind", is_wind),
    ("sea", is_sea),
    ("fire", is_fire),
    ("noise", is_noise),
)


def accepted_kinds(labels: Labels) -> set[str]:
    """What the listener may call a sound with these labels: below 101 Hz, bass, tone and pluck are one."""
    kind = _kind(labels)
    if kind in ("tone", "pluck", "bass") and labels.hz < HIGHEST_BASS:
        return {kind, "bass", "tone" if kind == "tone" else "pluck"}
    return {kind}


def _kind(labels: Labels) -> str:
    if labels.family == "lead":
        return "tone"
    if labels.family == "instrument":
        return "pluck" if labels.variant in STRUCK_INSTRUMENTS else "tone"
    return "tune" if labels.family in TUNES else labels.family
