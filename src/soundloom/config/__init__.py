"""What a model is (`models`), what a caller may ask (`requests`), and which files have which name (`catalogue`)."""
