"""Training of LoRA adapters on MLX, without PyTorch; the modules beside this folder without a framework are shared."""
