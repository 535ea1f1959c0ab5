"""Measuring what a model makes: metrics as functions on arrays, a listener that follows rules, and a report."""
