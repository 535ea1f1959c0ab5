"""Sets of sounds and lists of prompts: what is compared, and with what."""
