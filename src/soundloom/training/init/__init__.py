"""Initial weights: principal components, noise bands, a pretrained model."""
