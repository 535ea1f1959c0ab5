"""The stages of training, each of which reads what earlier stages left in the run directory."""
