"""A Weaviate server for tests: its REST and gRPC interfaces over an exact search in memory.

It answers the requests that `WeaviateStore` sends through Weaviate's own client. Hybrid queries,
groups, references, modules, aliases and single objects over REST are not there.
"""

from qwen3_rag_testkit.weaviate_stand_in.server import WeaviateStandIn

__all__ = ["WeaviateStandIn"]
