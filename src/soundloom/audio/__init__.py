"""Audio files, channels, sample rates, loudness and checks; audio is always float32 `(channels, samples)`."""
