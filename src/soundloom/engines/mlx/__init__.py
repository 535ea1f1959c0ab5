"""The MLX engine: Apple silicon without PyTorch; on Linux, a slow twin that proves the two engines equal."""
