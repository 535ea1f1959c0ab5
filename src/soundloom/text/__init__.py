"""Prompts to token ids, and models' vocabularies."""
