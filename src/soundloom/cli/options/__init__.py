"""Command-line options: groups that commands share, and how their values become requests."""
