"""Adversarial training: discriminators and GAN losses."""
