"""Parsers for files from untrusted sources, which check every size before they allocate memory."""
