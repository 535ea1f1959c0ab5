"""Training losses, and the auxiliary modules that are trained together with a model."""
