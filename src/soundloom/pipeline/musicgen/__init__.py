"""From a request to audio with MusicGen."""
