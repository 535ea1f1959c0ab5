"""Audio file formats: containers, chunks, tags, limits and file objects."""
