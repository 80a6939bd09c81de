"""Weaviate store: a collection on a server, accessed through your own client."""
