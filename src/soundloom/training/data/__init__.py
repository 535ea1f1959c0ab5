"""Training data: clips, captions, latents, augmentation, inpainting masks."""
