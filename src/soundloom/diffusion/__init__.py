"""The mathematics of sampling, with plain operators only, so that one text serves torch, MLX and NumPy."""
