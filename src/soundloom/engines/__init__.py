"""The networks, once in PyTorch and once in MLX: the same files, classes and order in each."""
