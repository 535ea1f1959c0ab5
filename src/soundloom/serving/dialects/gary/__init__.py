"""The interface of gary, for clients in audio workstations: jobs by polling, on a port of its own, without a token."""
