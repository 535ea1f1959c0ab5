"""Control adherence: tempo, key, pitch, duration, loudness, side, loop and instruments against what was asked for."""
