"""Measure speed and memory, each case in a new process with full-size random weights."""
