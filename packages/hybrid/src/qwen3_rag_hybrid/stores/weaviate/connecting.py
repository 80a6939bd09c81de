"""Connects to Weaviate by an address."""

from __future__ import annotations

import weaviate
from weaviate.classes.init import Auth

from qwen3_rag_hybrid.stores.address import StoreAddress

__all__ = ["connect"]

# Weaviate Cloud, whose gRPC interface has a host of its own that the client knows.
_CLOUD = (".weaviate.cloud", ".weaviate.network", ".weaviate.io")


def connect(address: StoreAddress, key: str | None) -> weaviate.WeaviateClient:
    """Make a client, and connect it."""
    if address.host.endswith(_CLOUD) and not address.grpc_host and address.grpc_port is None:
        return weaviate.connect_to_weaviate_cloud(address.host, Auth.api_key(key or ""))
    return weaviate.connect_to_custom(
        http_host=address.host,
        http_port=address.port or (443 if address.tls else 8080),
        http_secure=address.tls,
        grpc_host=address.grpc_host or address.host,
        grpc_port=address.grpc_port or 50051,
        grpc_secure=address.tls,
        auth_credentials=Auth.api_key(key) if key else None,
    )
