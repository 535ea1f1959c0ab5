"""Datasets for training and evaluation: synthetic sounds, folders of audio, WebDataset shards, stored latents."""
