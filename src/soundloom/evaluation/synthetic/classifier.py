"""A rule-based classifier of sound kinds on measured features; nothing in it is trained.

The first rule that holds names the kind. Families that cannot be told apart by ear share a kind, such as a flute note
and a tone. `benchmarks/classifier.py` measures its accuracy on clean renderings, the upper bound for any model; see
docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import NDArray

from soundloom.datasets.synthetic import Labels
from soundloom.evaluation.synthetic.features import Features, extract_features
from soundloom.evaluation.synthetic.pitch import Pitch

NOTHING = "nothing"
MAX_BASS_HZ = 101.0  # basses of the synthetic dataset end at G2, 98 Hz
MIN_NOTE_PROMINENCE = 3.5  # of spectral peaks in a sound with pitch
STRUCK_INSTRUMENTS = ("piano", "electric piano", "marimba")
TUNES = ("bass line", "chord progression", "arpeggio", "melody")
# Indices of `Features.octave_levels`, by lowest frequency.
HZ_30, HZ_60, HZ_120, HZ_250, HZ_500, HZ_1000, HZ_2000, HZ_4000, HZ_8000 = range(9)


def classify(audio: NDArray, rate: int) -> str:
    """Return the kind of sound of a clip (channels, samples)."""
    features = extract_features(audio, rate)
    return next(kind for kind, holds in RULES if holds(features)) if features else NOTHING


# Sounds that change once: in level or pitch


def is_riser(f: Features) -> bool:
    return f.pitch_trend > 0.85 and f.pitch_range > 25 and f.decay_rate > 2


def is_laser(f: Features) -> bool:
    return f.pitch_range > 30 and f.active_share < 0.4 and -45 < f.decay_rate < -20


def is_explosion(f: Features) -> bool:
    decays = f.active_share < 0.4 and -30 < f.decay_rate < -15
    return decays and f.median_hz < 110 and f.low_hz < 50 and f.peak_prominence < 2.8


def is_whoosh(f: Features) -> bool:
    swells = f.attack > 0.6 and f.level_deviation > 5.5 and 0.6 < f.active_share < 0.85
    return swells and f.peak_prominence < 1.7


def is_sweep(f: Features) -> bool:
    return glides(f) and abs(f.pitch_trend) > 0.95


def glides(f: Features) -> bool:
    """Whether one spectral peak moves smoothly through a sound without pauses."""
    steady = f.active_share > 0.9 and f.level_deviation < 1.2 and not is_triad(f)
    return steady and f.pitch_range > 3 and f.smoothness > 0.75 and f.low_hz > MAX_BASS_HZ


# Percussive sounds


def is_clock(f: Features) -> bool:
    return clicks(f) and f.pitch_range > 3  # tick and tock differ


def clicks(f: Features) -> bool:
    narrow = f.high_hz < 3.2 * f.low_hz and 1400 < f.median_hz < 4500
    return narrow and f.decay_rate < -900 and f.peak_prominence < 2.5 and f.active_share < 0.2


def is_drum_hit(f: Features) -> bool:
    single = len(f.onsets) <= 2 and f.active_share < 0.22
    return single and f.decay_rate < -30 and f.peak_prominence < MIN_NOTE_PROMINENCE


def is_knock(f: Features) -> bool:
    rings = f.peak_prominence > 3 and f.pitch_range < 1 and f.hold_time < 0.08
    return rings and f.decay_rate < -90 and len(f.onsets) <= 5


def is_birdsong(f: Features) -> bool:
    """High cries and chirps with pauses that glide or are irregular."""
    high = f.low_hz > 1300 and 2400 < f.median_hz < 4800 and f.high_hz < 2.8 * f.low_hz
    irregular = f.onset_irregularity > 0.4 or (f.smoothness > 0.9 and f.pitch_range > 4)
    return high and irregular and f.level_deviation > 5 and f.peak_prominence < 3


def is_drum_loop(f: Features) -> bool:
    return is_beat(f) and f.timbre_spread > 0.12


def is_beat(f: Features) -> bool:
    """Whether the clip consists of short strokes without sustained pitch."""
    short = f.level_deviation > 3.5 and f.hold_time < 0.2 and f.peak_prominence < 6
    return short and len(f.onsets) > 2 and not is_triad(f)


# Notes


def is_engine(f: Features) -> bool:
    """A low growl with an onset at each turn."""
    turns = len(f.onsets) > 7 * f.seconds and f.active_share > 0.9
    growls = 3 < f.peak_prominence < 9 and _single_match(f) < 0.8 and not is_triad(f)
    return turns and growls and f.median_hz < 210


def is_alarm(f: Features) -> bool:
    return is_beeps(f) and _match(f.harmonic) > 0.68


def is_beeps(f: Features) -> bool:
    """Short tones of constant level, separated by silence."""
    seconds_each = f.active_share * f.seconds / max(len(f.onsets), 1)
    short = f.active_share < 0.7 and seconds_each < 0.45 and f.hold_time > 0.085
    return has_pitch(f) and short and f.pitch_range < 1 and f.level_deviation > 4


def is_tune(f: Features) -> bool:
    """Several notes in sequence; the slow beating of a pad is irregular."""
    regular = f.onset_irregularity < 0.12 and f.level_deviation > 0.8
    steps = regular or (f.level_deviation > 4.2 and f.attack < 0.22)
    return has_pitch(f) and steps and len(f.onsets) > 4


def is_pad(f: Features) -> bool:
    return is_chord(f) and f.attack > 0.22


def is_chord(f: Features) -> bool:
    return has_pitch(f) and is_triad(f)


def is_bell(f: Features) -> bool:
    return is_pluck(f) and _match(f.bell) > max(_match(f.harmonic) + 0.1, 0.8)


def is_bass(f: Features) -> bool:
    """Whether the better of two simple explanations is a low note."""
    notes = [note for note in (f.sine, f.harmonic) if note]
    hz = max(notes, key=lambda note: note.match).hz if notes else 0.0
    return has_pitch(f) and hz < MAX_BASS_HZ


def is_pluck(f: Features) -> bool:
    return has_pitch(f) and f.decay_rate < -6 and f.active_share < 0.85


def has_pitch(f: Features) -> bool:
    return f.peak_prominence > MIN_NOTE_PROMINENCE


def is_triad(f: Features) -> bool:
    return _match(f.chord) > max(_single_match(f) + 0.05, 0.75)


def _single_match(f: Features) -> float:
    """How well a single note explains the spectrum."""
    return max(_match(note) for note in (f.sine, f.harmonic, f.bell))


def _match(note: Pitch | None) -> float:
    return note.match if note else 0.0


# Noises


def is_static(f: Features) -> bool:
    """Tape hiss is higher than rain, radio static lower; vinyl crackle extends to the bass."""
    levels = f.octave_levels
    high_or_low = levels[HZ_1000] < -15 or levels[HZ_8000] < -14
    return hisses(f) and (high_or_low or levels[HZ_250] > -14)


def hisses(f: Features) -> bool:
    return _loudest(f) >= HZ_1000 and f.octave_levels[HZ_120] < -14


def is_wind(f: Features) -> bool:
    return _loudest(f) in (HZ_120, HZ_250, HZ_500) and f.octave_levels[HZ_30] < -8


def is_sea(f: Features) -> bool:
    """Swelling rumble with the hiss of foam."""
    foams = f.octave_levels[HZ_250] > -11 and 2000 < f.high_hz < 7500
    return _loudest(f) == HZ_60 and foams and f.level_deviation > 2.3


def is_fire(f: Features) -> bool:
    """A roar with crackles far above it."""
    return _loudest(f) <= HZ_60 and f.octave_levels[HZ_250] < -10.5 and 350 < f.high_hz < 3500


def _loudest(f: Features) -> int:
    return f.octave_levels.index(max(f.octave_levels))


RULES: tuple[tuple[str, Callable[[Features], bool]], ...] = (
    ("riser", is_riser),
    ("laser", is_laser),
    ("explosion", is_explosion),
    ("whoosh", is_whoosh),
    ("sweep", is_sweep),
    ("siren", glides),
    ("engine", is_engine),
    ("clock", is_clock),
    ("clicks", clicks),
    ("drum hit", is_drum_hit),
    ("knock", is_knock),
    ("birds", is_birdsong),
    ("drum loop", is_drum_loop),
    ("single drum loop", is_beat),
    ("alarm", is_alarm),
    ("beeps", is_beeps),
    ("tune", is_tune),
    ("pad", is_pad),
    ("chord", is_chord),
    ("bell", is_bell),
    ("bass", is_bass),
    ("pluck", is_pluck),
    ("tone", has_pitch),
    ("static", is_static),
    ("rain", hisses),
    ("wind", is_wind),
    ("sea", is_sea),
    ("fire", is_fire),
    ("noise", lambda f: True),
)


def accepted_kinds(labels: Labels) -> set[str]:
    """Return the kinds that count as correct for a sound; bass, tone and pluck are interchangeable below 101 Hz."""
    kind = _kind(labels)
    if kind in ("tone", "pluck", "bass") and labels.hz < MAX_BASS_HZ:
        return {kind, "bass", "tone" if kind == "tone" else "pluck"}
    return {kind}


def _kind(labels: Labels) -> str:
    if labels.family == "lead":
        return "tone"
    if labels.family == "instrument":
        return "pluck" if labels.variant in STRUCK_INSTRUMENTS else "tone"
    return "tune" if labels.family in TUNES else labels.family
