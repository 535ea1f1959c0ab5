"""From a request to sound: plans, chunked coding, edits, and the model that a caller holds."""
