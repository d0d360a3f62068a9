"""How values become bytes and back, and which values are supported."""
