"""The training loop: optimizers, distributed runs, checkpoints, logging."""
