"""The options: checked once, parsed from text, and hidden in tracebacks if they are secret."""
