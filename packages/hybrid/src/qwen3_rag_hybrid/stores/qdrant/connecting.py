"""Connects to Qdrant by an address."""

from __future__ import annotations

from qdrant_client import QdrantClient

from qwen3_rag_hybrid.stores.address import StoreAddress

__all__ = ["connect"]

_TIMEOUT = 60  # seconds; the client's own 5 are too few for a batch on a busy server


def connect(address: StoreAddress, key: str | None) -> QdrantClient:
    """Make a client, and check that the server answers and takes the key."""
    if address.path is not None:
        return QdrantClient(path=str(address.path))
    client = QdrantClient(
        url=address.server,
        port=address.port or 6333,
        grpc_port=address.grpc_port or 6334,
        prefer_grpc=address.grpc_port is not None,
        api_key=key,
        timeout=_TIMEOUT,
        # Would warn where the server does not answer; the request below is an error then.
        check_compatibility=False,
    )
    try:
        client.collection_exists(address.collection)
    except BaseException:
        client.close()
        raise
    return client
