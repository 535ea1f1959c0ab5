"""Evaluate a model: metrics on audio, a rule-based sound classifier, and a report."""
