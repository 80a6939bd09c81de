"""Connects to Milvus by an address."""

from __future__ import annotations

from importlib.util import find_spec

from pymilvus import MilvusClient

from qwen3_rag.errors import MissingExtraError
from qwen3_rag_hybrid.stores.address import StoreAddress

__all__ = ["connect"]


def connect(address: StoreAddress, key: str | None) -> MilvusClient:
    """Make a client, which connects at once.

    Raises:
        MissingExtraError: The address is a file of Milvus Lite, which is not installed.
    """
    if address.path is None:
        return MilvusClient(address.server, token=key or "", db_name=address.database)
    if find_spec("milvus_lite") is None:
        raise MissingExtraError(
            f"The file {str(address.path)!r} needs the package 'milvus-lite'. Install it with: "
            'pip install "qwen3-rag-hybrid[milvus-lite]"'
        )
    return MilvusClient(str(address.path))
