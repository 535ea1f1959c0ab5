"""Sound files, channels, rates, loudness and checks; audio is float32 `(channels, samples)` everywhere."""
