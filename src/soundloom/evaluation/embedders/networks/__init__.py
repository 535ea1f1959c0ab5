"""Networks of embedders in PyTorch, and what runs them on windows."""
