"""Qdrant stores: the engine in this process (`edge`), and any `QdrantClient` (`server`)."""
