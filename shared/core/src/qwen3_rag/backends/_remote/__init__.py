"""Models that run on a server."""
