"""The session's cookie: reading and writing it, its tokens, its seal, and what caches are told."""
