"""What training reads: clips, captions, stored latents, augmentation, masks."""
