"""Commands that read or write audio files."""
