"""Where the state of sessions is kept: in a store, or sealed in the cookie."""
