"""Training of LoRA adapters. What is not tensor work imports NumPy alone, so that engines without PyTorch share it."""
