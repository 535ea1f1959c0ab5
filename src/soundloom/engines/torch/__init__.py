"""The PyTorch engine: NVIDIA GPUs, any CPU, Apple's MPS."""
