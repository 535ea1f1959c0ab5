"""Networks and engines in PyTorch and MLX.

Files that exist in both engines mirror each other: the same classes, arguments and order. `torch` also has files of its
own, for CUDA graphs, FlexAttention, INT8 and FP8 matmuls, prepacked weights, precision and memory.
"""
