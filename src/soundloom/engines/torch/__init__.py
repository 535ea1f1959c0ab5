"""The PyTorch engine: NVIDIA GPUs, CPUs and Apple's MPS."""
