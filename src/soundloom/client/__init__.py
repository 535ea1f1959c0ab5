"""Use a soundloom server from Python, with the calls of a model."""
