"""What operators may say to a running server."""
