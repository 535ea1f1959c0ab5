"""Nouns of each family and variant, for captions.

A leading article can be dropped or followed by adjectives. Braces stand for fields of the labels; `{s}` is the plural
ending for `{count}` events.
"""

from soundloom.datasets.synthetic.labels import Labels

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")

# Looked up as (family, variant) first, then as the family alone.
NOUNS: dict[tuple[str, str] | str, tuple[str, ...]] = {
    ("tone", "sine"): ("a tone", "a sine tone", "a sine wave", "a pure tone"),
    "tone": ("a {variant} wave", "a {variant} tone", "a {variant} wave tone"),
    ("sweep", "rising"): ("a rising sweep", "a tone sweeping up", "a rising tone", "an upward sine sweep"),
    ("sweep", "falling"): ("a falling sweep", "a tone sweeping down", "a falling tone", "a downward sine sweep"),
    "noise": ("{variant} noise",),
    "drum loop": (
        "a {variant} drum loop",
        "a {variant} beat",
        "{variant} drums",
        "a {variant} drum beat",
        "a drum loop in {variant} style",
    ),
    ("single drum loop", "closed hi-hat"): ("a hi-hat loop", "a hi-hat pattern", "hi-hats", "a closed hi-hat loop"),
    ("single drum loop", "kick"): (
        "a kick drum loop",
        "a kick loop",
        "a four on the floor kick drum",
        "a kick drum beat",
    ),
    ("single drum loop", "snare"): ("a snare drum loop", "a snare loop", "a snare pattern"),
    "single drum loop": ("a {variant} loop", "a {variant} pattern", "a {variant} rhythm"),
    ("drum hit", "kick"): ("a kick drum", "a kick drum hit", "a single kick", "a bass drum hit"),
    ("drum hit", "snare"): ("a snare drum hit", "a snare hit", "a single snare"),
    ("drum hit", "tom"): ("a tom hit", "a tom drum hit", "a single tom"),
    "drum hit": ("a {variant}", "a {variant} hit", "a single {variant}", "a {variant} one-shot"),
    ("bass", "sub bass"): ("a sub bass note", "a deep sub bass", "a bass note"),
    "bass": ("a {variant} note", "a {variant}", "a bass note"),
    "bass line": ("a bass line", "a {variant} line", "a {variant} groove", "a {variant} riff"),
    ("pluck", "guitar"): ("a plucked guitar string", "a guitar note", "a plucked string", "an acoustic guitar note"),
    ("pluck", "harp"): ("a harp note", "a plucked harp string", "a harp pluck"),
    "pluck": ("a {variant} note", "a plucked {variant} string", "a {variant} pluck"),
    ("bell", "bell"): ("a bell", "a bell tone", "a ringing bell", "a bell being struck"),
    ("bell", "church bell"): ("a church bell", "a big bell", "a tolling church bell"),
    "bell": ("a {variant} note", "a {variant}", "a small {variant} bell"),
    "instrument": ("a {variant} note", "a {variant} tone", "a single {variant} note", "a long {variant} note"),
    "lead": ("a {variant} note", "a synth {variant}", "a {variant} synth note", "a synthesizer lead"),
    "chord": ("a {variant} chord", "a chord on {variant}", "a chord", "a single {variant} chord"),
    "pad": ("a pad", "a slow pad", "a synth pad", "a soft synthesizer pad", "an ambient pad"),
    "chord progression": ("a {variant} chord progression", "{variant} chords", "a {variant} chord loop"),
    "arpeggio": ("a {variant} arpeggio", "an arpeggio on {variant}", "an arpeggiated {variant}"),
    "melody": ("a {variant} melody", "a melody on {variant}", "a {variant} tune", "a {variant} solo"),
    ("rain", "steady"): ("rain", "falling rain", "steady rain", "the sound of rain"),
    ("rain", "light"): ("light rain", "rain drops", "a drizzle", "a light rain shower"),
    ("rain", "heavy"): ("heavy rain", "pouring rain", "a downpour", "a rainstorm"),
    ("wind", "soft"): ("wind", "soft wind", "a gentle breeze"),
    ("wind", "strong"): ("strong wind", "wind gusts", "a windy storm"),
    "wind": ("{variant} wind", "wind {variant}", "a {variant} winter wind"),
    ("sea", "calm"): ("the sea", "ocean waves", "calm sea waves", "waves on a beach"),
    "sea": ("a stormy sea", "crashing waves", "rough ocean waves"),
    ("fire", "small"): ("fire", "a crackling fire", "a campfire", "a fireplace crackling"),
    "fire": ("a big fire", "a roaring fire", "a large fire burning"),
    ("engine", "idling"): ("an engine idling", "an idling engine", "a motor idling"),
    ("engine", "revving"): ("an engine revving", "a revving engine", "a motor revving up"),
    "engine": ("an engine", "a car engine", "a motor running"),
    ("static", "radio"): ("static", "radio static", "static noise", "crackling radio static"),
    ("static", "vinyl"): ("vinyl crackle", "an old record crackling", "vinyl noise"),
    "static": ("hiss", "tape hiss", "static hiss"),
    "knock": ("{count} knock{s}", "{count} knock{s} on {material}", "knocking on {material}"),
    ("footsteps", "running"): ("running footsteps", "someone running on {material}", "fast footsteps"),
    ("footsteps", "slow"): ("slow footsteps", "someone walking slowly on {material}", "slow steps"),
    "footsteps": ("footsteps", "footsteps on {material}", "someone walking on {material}"),
    ("clock", "clock"): ("a clock ticking", "a ticking clock", "a clock", "a wall clock ticking"),
    "clock": ("a {variant} ticking", "a ticking {variant}", "a fast ticking {variant}"),
    "beeps": ("{count} beep{s}", "{count} electronic beep{s}", "{count} short beep{s}"),
    ("alarm", "alarm clock"): ("an alarm", "an alarm clock", "an alarm clock beeping"),
    "alarm": ("a {variant}", "a {variant} sounding", "a {variant} going off"),
    "clicks": ("{count} click{s}", "{count} mouse click{s}", "{count} short click{s}"),
    "siren": ("a siren", "a {variant} siren", "a police siren {variant}", "an ambulance siren"),
    "laser": ("{count} laser shot{s}", "{count} laser zap{s}", "{count} sci-fi laser blast{s}"),
    "whoosh": ("a whoosh", "a swoosh", "a whoosh passing by", "a fast whoosh"),
    ("riser", "noise"): ("a riser", "a noise riser", "a build-up riser"),
    "riser": ("a synth riser", "a rising synth", "a riser building up"),
    ("explosion", "distant"): ("a distant explosion", "a rumbling explosion far away", "a distant blast"),
    "explosion": ("an explosion", "a big explosion", "a blast"),
    ("birds", "songbird"): ("birds", "birds chirping", "a bird singing", "birdsong"),
    ("birds", "cuckoo"): ("a cuckoo", "a cuckoo calling", "a cuckoo bird"),
    "birds": ("seagulls", "a seagull", "seagulls crying"),
}

GENRES = {"hip hop": "Hip Hop", "drum and bass": "Drum and Bass"}  # others are the capitalized variant


def nouns(labels: Labels) -> tuple[str, ...]:
    """Return the nouns of a source with fields filled in, articles included."""
    templates = NOUNS.get((labels.family, labels.variant)) or NOUNS[labels.family]
    count = "a" if labels.count == 1 else NUMBER_WORDS[labels.count]
    fields = {
        "variant": labels.variant,
        "material": labels.material,
        "count": count,
        "s": "" if labels.count == 1 else "s",
    }
    return tuple(template.format(**fields) for template in templates)


def instrument(labels: Labels) -> str:
    """Return the instrument that a music library would list."""
    if labels.family == "drum loop":
        return "Drums"
    if labels.family == "single drum loop":
        return "Kick Drum" if labels.variant == "kick" else labels.variant.title()
    if labels.family == "bass line":
        return "Bass" if labels.variant == "sub bass" else labels.variant.title()
    return (labels.variant or labels.family).title()
