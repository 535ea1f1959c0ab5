"""The round trip of an autoencoder or token codec: what its decoder makes of encoded sounds. No model can be better."""
