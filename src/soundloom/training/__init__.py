"""Training: stages that make a checkpoint from sounds, on PyTorch."""
