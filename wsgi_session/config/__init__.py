"""The options: checked once, read from text, and kept out of tracebacks where they are secret."""
