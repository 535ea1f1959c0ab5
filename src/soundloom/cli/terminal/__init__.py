"""Terminal output: streams, logs, progress, and results."""
