"""What is sent back to the server: the response's body, and the 503 in an outage."""
