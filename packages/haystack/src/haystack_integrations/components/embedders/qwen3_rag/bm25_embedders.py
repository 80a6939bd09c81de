"""`BM25SparseTextEmbedder` and `BM25SparseDocumentEmbedder`, which make BM25 sparse vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import SparseEmbedding

from haystack_integrations.common.qwen3_rag.documents import check_documents, check_fields, texts_of
from qwen3_rag import InputTypeError
from qwen3_rag.lexical import BM25Encoder, SparseVector

__all__ = ["BM25SparseDocumentEmbedder", "BM25SparseTextEmbedder"]

_ENCODER = BM25Encoder()


@component
class BM25SparseTextEmbedder:
    """Encodes a query, in any language, for a store that applies the IDF.

    It takes no arguments: BM25's parameters are all in the documents' vectors.

    Example:
        ```python
        embedder = BM25SparseTextEmbedder()
        sparse = embedder.run("What is the capital of France?")["sparse_embedding"]
        ```
    """

    @component.output_types(sparse_embedding=SparseEmbedding)
    def run(self, text: str) -> dict[str, Any]:
        """Encode a query: each of its terms with weight 1.

        Args:
            text: The user's question.

        Returns:
            `sparse_embedding`, without indices if the text has no terms.

        Raises:
            InputTypeError: `text` is not a string.
        """
        if not isinstance(text, str):
            raise InputTypeError(
                f"`text` must be a string, got {type(text).__name__}. To embed a list of "
                "Documents, use BM25SparseDocumentEmbedder."
            )
        return {"sparse_embedding": sparse_embedding(_ENCODER.encode_query(text))}


@component
class BM25SparseDocumentEmbedder:
    """Encodes documents with BM25 weights, in any language, for a store that applies the IDF.

    For Qdrant's document store, set `use_sparse_embeddings=True, sparse_idf=True`.

    Example:
        ```python
        embedder = BM25SparseDocumentEmbedder()
        documents = embedder.run([Document(content="Paris is in France.")])["documents"]
        ```
    """

    def __init__(
        self,
        *,
        k1: float = 1.2,
        b: float = 0.75,
        avg_len: float = 256.0,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        r"""Store the arguments.

        Args:
            k1: How much repetitions of a term count: 0 ignores them, larger values count them more.
            b: How much long documents are penalised, 0 to 1.
            avg_len: Number of terms in a typical document; must be the same for the whole
                collection.
            meta_fields_to_embed: Metadata fields to put before the content, in this order.
            embedding_separator: Text between these, a newline by default.

        Raises:
            InputError: A value is out of range.
        """
        self.k1 = k1
        self.b = b
        self.avg_len = avg_len
        self.meta_fields_to_embed = check_fields(meta_fields_to_embed, embedding_separator)
        self.embedding_separator = embedding_separator
        self._encoder = BM25Encoder(k1=k1, b=b, avg_len=avg_len)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as a dictionary."""
        return default_to_dict(
            self,
            k1=self.k1,
            b=self.b,
            avg_len=self.avg_len,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BM25SparseDocumentEmbedder:
        """Create an instance from the output of `to_dict`."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Encode documents.

        Args:
            documents: Documents with content, or with metadata to embed. Not modified.

        Returns:
            `documents`: copies with `sparse_embedding` and the same ids, in input order. It is
            `None` if the text has no terms.

        Raises:
            InputTypeError: The argument is not a list of documents.
        """
        check_documents(documents, "To embed a query, use BM25SparseTextEmbedder.")
        texts = texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        vectors = [self._encoder.encode_document(text) for text in texts]
        sparse = [sparse_embedding(vector) if len(vector) else None for vector in vectors]
        return {
            "documents": [
                replace(document, sparse_embedding=terms)
                for document, terms in zip(documents, sparse, strict=True)
            ]
        }


def sparse_embedding(vector: SparseVector) -> SparseEmbedding:
    """Convert the core's sparse vector to Haystack's."""
    return SparseEmbedding(indices=vector.indices.tolist(), values=vector.values.tolist())
