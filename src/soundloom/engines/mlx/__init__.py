"""The MLX engine: Apple silicon without PyTorch; on Linux it is slow and serves to compare the engines."""
