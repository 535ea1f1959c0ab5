"""Adversarial training: discriminators and their losses."""
