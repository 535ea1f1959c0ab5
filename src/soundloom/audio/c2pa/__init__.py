"""Sign audio files with C2PA manifests (Content Credentials), and verify them, without a network."""
