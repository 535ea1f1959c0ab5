"""Confidence intervals, tests, and corrections for several tests."""
