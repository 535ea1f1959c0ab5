"""The commands that make, edit, encode or play audio."""
