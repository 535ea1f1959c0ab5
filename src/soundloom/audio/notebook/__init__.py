"""Show clips in notebooks: a player with a picture of the waveform, and plots."""
