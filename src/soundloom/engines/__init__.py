"""Networks and engines in PyTorch and MLX; the networks have the same classes in the same order in both."""
