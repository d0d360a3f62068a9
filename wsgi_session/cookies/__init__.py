"""The session cookie: reading and setting it, its tokens, its seal, and the cache headers."""
