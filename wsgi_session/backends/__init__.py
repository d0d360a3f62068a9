"""The two places where sessions are kept: a store, or the cookie itself."""
