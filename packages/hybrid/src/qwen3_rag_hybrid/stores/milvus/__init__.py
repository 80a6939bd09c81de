"""Milvus stores: any `MilvusClient`, of a server or of Milvus Lite (`store`)."""
