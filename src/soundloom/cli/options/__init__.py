"""Command-line options: the groups that commands share, and how they become requests."""
