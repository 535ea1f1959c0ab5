"""LoRA adapters: their files, their arithmetic, and what engines compute beside the weights; NumPy only."""
