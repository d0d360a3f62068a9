"""What goes back to the server: the body with its end, and the 503 of an outage."""
