"""The data folder of the server: a SQLite database, and audio files named by their content."""
