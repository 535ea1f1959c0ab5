"""The command line: parse, build the request, call one function, write the result."""
