"""Image files: formats, limits and decoding."""
