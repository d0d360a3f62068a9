"""Encoding values as bytes and decoding them, and which values are supported."""
