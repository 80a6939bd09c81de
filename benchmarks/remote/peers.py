"""What the frameworks' own classes get from the same servers; runs in the peers' environment.

python -m benchmarks.remote.peers GIVEN SEEN
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = (
    "haystack-ai",
    "langchain-openai",
    "llama-index-embeddings-openai-like",
    "llama-index-postprocessor-jinaai-rerank",
    "llama-index-postprocessor-tei-rerank",
    "openai",
    "vllm-haystack",
)

Embed = Callable[[str], Sequence[float]]
Rank = Callable[[str, Sequence[str]], Mapping[int, float]]


def langchain(url: str, model: str, size: int | None, **options: Any) -> tuple[Embed, Embed]:
    """LangChain's class, with or without its check of lengths by OpenAI's token ids."""
    from langchain_openai import OpenAIEmbeddings
    from pydantic import SecretStr

    embeddings: Any = OpenAIEmbeddings(
        model=model, base_url=f"{url}/v1", api_key=SecretStr("none"), dimensions=size, **options
    )
    return embeddings.embed_query, lambda text: embeddings.embed_documents([text])[0]


def llama_index(url: str, model: str, size: int | None) -> tuple[Embed, Embed]:
    """LlamaIndex's class for servers that are like OpenAI's."""
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(
        model_name=model, api_base=f"{url}/v1", dimensions=size, max_retries=1
    )
    return embedding.get_query_embedding, embedding.get_text_embedding


def haystack(url: str, model: str, size: int | None) -> tuple[Embed, Embed]:
    """Haystack's classes for OpenAI."""
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    options: Any = {
        "model": model,
        "api_base_url": f"{url}/v1",
        "api_key": Secret.from_token("none"),
        "dimensions": size,
    }
    queries = OpenAITextEmbedder(**options)
    documents = OpenAIDocumentEmbedder(**options, progress_bar=False, raise_on_failure=True)
    queries.warm_up()
    documents.warm_up()
    return (
        lambda text: queries.run(text)["embedding"],
        lambda text: documents.run([Document(content=text)])["documents"][0].embedding,
    )


def haystack_vllm(url: str, model: str, size: int | None) -> tuple[Embed, Embed]:
    """Haystack's classes for vLLM."""
    from haystack import Document
    from haystack_integrations.components.embedders.vllm import (
        VLLMDocumentEmbedder,
        VLLMTextEmbedder,
    )

    options: Any = {"model": model, "api_base_url": f"{url}/v1", "dimensions": size}
    queries: Any = VLLMTextEmbedder(**options)
    documents: Any = VLLMDocumentEmbedder(**options, progress_bar=False, raise_on_failure=True)
    queries.warm_up()
    documents.warm_up()
    return (
        lambda text: queries.run(text)["embedding"],
        lambda text: documents.run([Document(content=text)])["documents"][0].embedding,
    )


EMBEDDERS: dict[str, Callable[[str, str, int | None], tuple[Embed, Embed]]] = {
    "LangChain OpenAIEmbeddings": langchain,
    "LangChain OpenAIEmbeddings(check_embedding_ctx_length=False)": lambda *given: langchain(
        *given, check_embedding_ctx_length=False
    ),
    "LlamaIndex OpenAILikeEmbedding": llama_index,
    "Haystack OpenAI embedders": haystack,
    "Haystack vLLM embedders": haystack_vllm,
}


def jina(url: str, model: str, instruction: str | None) -> Rank:
    """LlamaIndex's class for Jina's API, whose shape vLLM and llama.cpp have."""
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return _ranked(JinaRerank(top_n=100, model=model, base_url=f"{url}/v1", api_key="none"))


def tei(url: str, model: str, instruction: str | None) -> Rank:
    """LlamaIndex's class for TEI, whose shape llama.cpp has too."""
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return _ranked(TextEmbeddingInference(top_n=100, base_url=url))


def vllm_ranker(url: str, model: str, instruction: str | None) -> Rank:
    """Haystack's class for vLLM, which hands any field on."""
    from haystack import Document
    from haystack_integrations.components.rankers.vllm import VLLMRanker

    extra = {} if instruction is None else {"instruction": instruction}
    ranker: Any = VLLMRanker(
        model=model, api_base_url=f"{url}/v1", top_k=100, extra_parameters=extra
    )
    ranker.warm_up()

    def rank(query: str, documents: Sequence[str]) -> Mapping[int, float]:
        given = [Document(id=str(index), content=text) for index, text in enumerate(documents)]
        found = ranker.run(query=query, documents=given)["documents"]
        return {int(document.id): document.score for document in found}

    return rank


RERANKERS: dict[str, Callable[[str, str, str | None], Rank]] = {
    "LlamaIndex JinaRerank": jina,
    "LlamaIndex TextEmbeddingInference": tei,
    "Haystack VLLMRanker": vllm_ranker,
}


def _ranked(postprocessor: Any) -> Rank:
    from llama_index.core.schema import NodeWithScore, TextNode

    def rank(query: str, documents: Sequence[str]) -> Mapping[int, float]:
        nodes = [
            NodeWithScore(node=TextNode(id_=str(index), text=text), score=0.0)
            for index, text in enumerate(documents)
        ]
        found = postprocessor.postprocess_nodes(nodes, query_str=query)
        return {int(node.node.node_id): node.score for node in found}

    return rank


def attempt(work: Callable[[], Any]) -> Any:
    """Return the result, or the error as a text."""
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def embedded(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Embed the texts with each class."""

    def ask(make: Any, which: int, name: str, size: int | None = None) -> Any:
        return attempt(lambda: list(make(asked["url"], asked["model"], size)[which](asked[name])))

    return {
        name: {
            "query": ask(make, 0, "query"),
            **{text: ask(make, 1, text) for text in ("plain", "code", "control", "long")},
            "short": ask(make, 1, "plain", asked["size"]),
        }
        for name, make in EMBEDDERS.items()
    }


def reranked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Score the documents with each class, as a list of index and score, in its order."""

    def ask(make: Any, documents: Sequence[str], instruction: str | None = None) -> Any:
        rank = make(asked["url"], asked["model"], instruction)
        return attempt(lambda: [*rank(asked["query"], documents).items()])

    return {
        name: {
            "plain": ask(make, asked["documents"]),
            "instructed": ask(make, asked["documents"], asked["instruction"]),
            "long": ask(make, [*asked["documents"], asked["long"]]),
        }
        for name, make in RERANKERS.items()
    }


def main(given: Path, seen: Path) -> None:
    """Ask a server."""
    asked = json.loads(given.read_text(encoding="utf-8"))
    os.environ["TIKTOKEN_CACHE_DIR"] = str(_tiktoken_files())  # the host of its files may be away
    found = {
        "versions": {name: version(name) for name in PACKAGES},
        "classes": (embedded if asked["role"] == "embedding" else reranked)(asked),
    }
    seen.write_text(json.dumps(found), encoding="utf-8")


def _tiktoken_files() -> Path:
    import llama_index.core

    return Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
