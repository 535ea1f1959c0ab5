"""Adapter files: read every known form, write the native one, and find adapters by name."""
