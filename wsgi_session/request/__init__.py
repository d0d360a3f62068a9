"""What one request knows of its session and does to it: the unit of work, its data, the commit."""
