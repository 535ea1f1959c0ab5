"""Model configurations, the catalogue of named models, and generation requests."""
