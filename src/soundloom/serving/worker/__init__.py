"""The process that runs models: one for each device, so that a crash or a lack of memory never ends the server."""
