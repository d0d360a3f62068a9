"""One request's use of its session: the unit of work, its data, and the commit."""
