"""Measure tempo, key, pitch, loudness, true peak and onsets of any audio; what is uncertain is None."""

from soundloom.audio.measure.measurement import Measurement, measure

__all__ = ["Measurement", "measure"]
