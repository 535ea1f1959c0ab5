"""Print pitch and level of what the embedded model makes: python benchmarks/mini_check.py [FOLDER]."""

from __future__ import annotations

import sys

import numpy as np

import soundloom

PITCHED = {
    "a 440 Hz tone": 440.0,
    "a 220 Hz tone": 220.0,
    "a 1000 Hz tone": 1000.0,
    "a 2000 Hz tone": 2000.0,
    "a 110 Hz square wave": 110.0,
    "bell in A4": 440.0,
    "a bell in A5": 880.0,
    "bass note E1": 41.2,
    "a bass note in A1": 55.0,
    "a plucked A3": 220.0,
}
OTHERS = ("kick drum loop, 120 BPM", "snare loop at 100 BPM", "rain", "wind", "a police siren", "white noise", "beeps")
SEEDS = (1, 2, 3)


def pitch(audio: np.ndarray, rate: int, expected: float) -> float:
    """Return the strongest frequency within an octave of the expected one, in Hz."""
    mono = audio.mean(0)
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), 2**19))
    frequencies = np.fft.rfftfreq(2**19, 1 / rate)
    near = (frequencies > expected / 2) & (frequencies < expected * 2)
    return float(frequencies[near][spectrum[near].argmax()])


def main() -> None:
    model = soundloom.load(sys.argv[1] if len(sys.argv) > 1 else "mini", keep_loaded=True)
    right = 0
    for prompt, hz in PITCHED.items():
        clips = [model.generate(prompt, seconds=4.0, seed=seed) for seed in SEEDS]
        cents = [1200 * np.log2(pitch(clip.audio, clip.sample_rate, hz) / hz) for clip in clips]
        right += sum(abs(cent) < 50 for cent in cents)
        level = 20 * np.log10(clips[0].audio.std())
        print(f"{prompt:28} off by {', '.join(f'{c:+.0f}' for c in cents)} cents, level {level:.0f} dB")
    print(f"within 50 cents: {right} of {len(PITCHED) * len(SEEDS)}")
    for prompt in OTHERS:
        audio = model.generate(prompt, seconds=4.0, seed=1).audio
        spectrum = np.abs(np.fft.rfft(audio.mean(0)))
        centre = (spectrum * np.fft.rfftfreq(audio.shape[1], 1 / 44100)).sum() / spectrum.sum()
        print(f"{prompt:28} level {20 * np.log10(audio.std()):.0f} dB, spectral centre {centre:.0f} Hz")


if __name__ == "__main__":
    main()
