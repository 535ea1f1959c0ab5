"""Figures of edits: regions, seams, variations, instructions."""
