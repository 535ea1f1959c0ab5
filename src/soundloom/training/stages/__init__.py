"""The stages of training, each of which reads what earlier stages have written into the run directory."""
