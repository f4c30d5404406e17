"""The HTTP API V2 over ASGI: requests parsed once, a handler for each endpoint, one place that renders errors."""
