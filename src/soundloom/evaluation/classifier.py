"""A listener that names the kind of a sound by rules on measured features; nothing in it is trained.

The rules form a list, and the first that holds names the sound. Families that the ear cannot tell apart share a kind: a
held flute note and a tone, a piano and a plucked string. How often clean renderings of the synthetic world are named
rightly is printed by `benchmarks/listener.py` and stated in `docs/evaluation.md`: no model can be seen to do better.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.evaluation.features import Features, measure
from soundloom.evaluation.pitch import Pitch

NOTHING = "nothing"
HIGHEST_BASS = 101.0  # Hz; the world's basses end at G2, 98 Hz
NOTE_LINES = 3.5  # how far lines stand out in a sound that has pitch
STRUCK_INSTRUMENTS = ("piano", "electric piano", "marimba")
TUNES = ("bass line", "chord progression", "arpeggio", "melody")
# Octaves of `Features.density` by where they begin.
HZ_30, HZ_60, HZ_120, HZ_250, HZ_500, HZ_1000, HZ_2000, HZ_4000, HZ_8000 = range(9)


def hear(audio: NDArray, rate: int) -> str:
    """The kind of sound that a clip (channels, samples) is."""
    features = measure(audio, rate)
    return name_of(features) if features else NOTHING


def name_of(heard: Features) -> str:
    """The kind of sound with these features."""
    return next(kind for kind, holds in RULES if holds(heard))


# Sounds that pass by: their level or pitch has one course


def is_riser(heard: Features) -> bool:
    return heard.rising > 0.85 and heard.pitch_range > 25 and heard.fall > 2


def is_laser(heard: Features) -> bool:
    return heard.pitch_range > 30 and heard.sounding < 0.4 and -45 < heard.fall < -20


def is_explosion(heard: Features) -> bool:
    dies = heard.sounding < 0.4 and -30 < heard.fall < -15
    return dies and heard.center < 110 and heard.low < 50 and heard.lines < 2.8


def is_whoosh(heard: Features) -> bool:
    return heard.attack > 0.6 and heard.wavering > 5.5 and heard.lines < 1.7 and 0.6 < heard.sounding < 0.85


def is_sweep(heard: Features) -> bool:
    return _glides(heard) and abs(heard.rising) > 0.95


def is_siren(heard: Features) -> bool:
    return _glides(heard)


def _glides(heard: Features) -> bool:
    """Whether one line moves smoothly through a sound that does not pause."""
    steady = heard.sounding > 0.9 and heard.wavering < 1.2 and not _is_triad(heard)
    return steady and heard.pitch_range > 3 and heard.smoothness > 0.75 and heard.low > HIGHEST_BASS


# Strokes


def is_clock(heard: Features) -> bool:
    return _ticks(heard) and heard.pitch_range > 3  # tick and tock


def is_clicks(heard: Features) -> bool:
    return _ticks(heard)


def _ticks(heard: Features) -> bool:
    narrow = heard.high < 3.2 * heard.low and 1400 < heard.center < 4500
    return narrow and heard.fall < -900 and heard.lines < 2.5 and heard.sounding < 0.2


def is_drum_hit(heard: Features) -> bool:
    once = len(heard.strokes) <= 2 and heard.sounding < 0.22
    return once and heard.fall < -30 and heard.lines < NOTE_LINES


def is_knock(heard: Features) -> bool:
    rings = heard.lines > 3 and heard.pitch_range < 1 and heard.hold < 0.08
    return rings and heard.fall < -90 and len(heard.strokes) <= 5


def is_birdsong(heard: Features) -> bool:
    """Cries and chirps with pauses, high, that glide or come unevenly."""
    high = heard.low > 1300 and 2400 < heard.center < 4800 and heard.high < 2.8 * heard.low
    wild = heard.evenness > 0.4 or (heard.smoothness > 0.9 and heard.pitch_range > 4)
    return high and wild and heard.wavering > 5 and heard.lines < 3


def is_drum_loop(heard: Features) -> bool:
    return _is_beaten(heard) and heard.colors > 0.12


def is_single_drum_loop(heard: Features) -> bool:
    return _is_beaten(heard)


def _is_beaten(heard: Features) -> bool:
    """Whether the clip is made of short strokes without a held pitch."""
    short = heard.wavering > 3.5 and heard.hold < 0.2 and heard.lines < 6
    return short and len(heard.strokes) > 2 and not _is_triad(heard)


# Notes


def is_engine(heard: Features) -> bool:
    """A low growl whose every turn is a stroke."""
    turns = len(heard.strokes) > 7 * heard.seconds and heard.sounding > 0.9
    growls = 3 < heard.lines < 9 and _single_match(heard) < 0.8 and not _is_triad(heard)
    return turns and growls and heard.center < 210


def is_alarm(heard: Features) -> bool:
    return is_beeps(heard) and _match(heard.harmonic) > 0.68


def is_beeps(heard: Features) -> bool:
    """Short tones of even level that stand in silence."""
    each = heard.sounding * heard.seconds / max(len(heard.strokes), 1)
    short = heard.sounding < 0.7 and each < 0.45 and heard.hold > 0.085
    return _has_pitch(heard) and short and heard.pitch_range < 1 and heard.wavering > 4


def is_tune(heard: Features) -> bool:
    """Several notes after each other; a pad's slow beating has no even steps."""
    even = heard.evenness < 0.12 and heard.wavering > 0.8
    steps = even or (heard.wavering > 4.2 and heard.attack < 0.22)
    return _has_pitch(heard) and steps and len(heard.strokes) > 4


def is_pad(heard: Features) -> bool:
    return _has_pitch(heard) and _is_triad(heard) and heard.attack > 0.22


def is_chord(heard: Features) -> bool:
    return _has_pitch(heard) and _is_triad(heard)


def is_bell(heard: Features) -> bool:
    return _has_pitch(heard) and _falls(heard) and _match(heard.bell) > max(_match(heard.harmonic) + 0.1, 0.8)


def is_bass(heard: Features) -> bool:
    return _has_pitch(heard) and _lowest_note(heard) < HIGHEST_BASS


def is_pluck(heard: Features) -> bool:
    return _has_pitch(heard) and _falls(heard)


def is_tone(heard: Features) -> bool:
    return _has_pitch(heard)


def _has_pitch(heard: Features) -> bool:
    return heard.lines > NOTE_LINES


def _falls(heard: Features) -> bool:
    return heard.fall < -6 and heard.sounding < 0.85


def _is_triad(heard: Features) -> bool:
    return _match(heard.chord) > max(_single_match(heard) + 0.05, 0.75)


def _single_match(heard: Features) -> float:
    """How well a single note explains the spectrum."""
    return max(_match(note) for note in (heard.sine, heard.harmonic, heard.bell))


def _lowest_note(heard: Features) -> float:
    """Hz of the note that the better of two simple explanations names."""
    notes = [note for note in (heard.sine, heard.harmonic) if note]
    return max(notes, key=lambda note: note.match).hz if notes else 0.0


def _match(note: Pitch | None) -> float:
    return note.match if note else 0.0


# Noises


def is_static(heard: Features) -> bool:
    """Tape hiss lies higher than rain, the radio's lower; a record crackles down to the bass."""
    level = heard.density
    high_or_low = level[HZ_1000] < -15 or level[HZ_8000] < -14
    return _hisses(heard) and (high_or_low or level[HZ_250] > -14)


def is_rain(heard: Features) -> bool:
    return _hisses(heard)


def _hisses(heard: Features) -> bool:
    return _loudest(heard) >= HZ_1000 and heard.density[HZ_120] < -14


def is_wind(heard: Features) -> bool:
    return _loudest(heard) in (HZ_120, HZ_250, HZ_500) and heard.density[HZ_30] < -8


def is_sea(heard: Features) -> bool:
    """Rumble that swells, with the hiss of foam."""
    level = heard.density
    return _loudest(heard) == HZ_60 and level[HZ_250] > -11 and 2000 < heard.high < 7500 and heard.wavering > 2.3


def is_fire(heard: Features) -> bool:
    """A roar with crackles far above it."""
    return _loudest(heard) <= HZ_60 and heard.density[HZ_250] < -10.5 and 350 < heard.high < 3500


def is_noise(heard: Features) -> bool:
    return True


def _loudest(heard: Features) -> int:
    return heard.density.index(max(heard.density))


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


def kinds_of(labels: Labels) -> set[str]:
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
