"""What a sound file holds: containers and their chunks, tags, limits, and file objects."""
