"""Configuration of the Stable Audio family: architecture, published models and requests."""
