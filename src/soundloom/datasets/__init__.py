"""Where training and evaluation clips come from: synthetic sounds, folders of audio, stored latents."""
