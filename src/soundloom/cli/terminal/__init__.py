"""What a command shows: streams, log lines, progress and results."""
