"""From a request to audio with Stable Audio."""
