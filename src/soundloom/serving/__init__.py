"""The server: an HTTP interface to the models, with a queue of jobs and a library of what was made."""
