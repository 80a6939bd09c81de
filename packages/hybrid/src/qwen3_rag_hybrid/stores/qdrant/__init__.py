"""Qdrant: its engine in this process (`edge`), and any `QdrantClient` (`server`)."""
