"""How long sound takes and how much memory: every figure from a process of its own, on full-size random weights."""
