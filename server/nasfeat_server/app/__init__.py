"""The composition root: the only place that constructs the server's parts, in order, and takes them down in reverse."""

from nasfeat_server.app.server import App, main

__all__ = ["App", "main"]
