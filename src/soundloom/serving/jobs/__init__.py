"""Jobs: what clients ask for, in which order it runs, and what becomes of it."""
