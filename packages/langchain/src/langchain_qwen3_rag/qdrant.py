"""BM25 for langchain-qdrant: `SparseEmbeddings` that use the core's encoder.

This is the only module that imports langchain_qdrant.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, model_validator

from langchain_qwen3_rag.settings import CheckedSettings
from qwen3_rag.errors import MissingExtraError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.lexical import SparseVector as Weights

try:
    from langchain_qdrant import SparseEmbeddings, SparseVector
except ImportError as error:
    raise MissingExtraError(
        "Sparse vectors for QdrantVectorStore need the package 'langchain-qdrant'. Install it "
        'with: pip install "langchain-qwen3-rag[qdrant]"'
    ) from error

__all__ = ["BM25SparseEmbeddings", "LexicalSparseEmbeddings"]


class BM25SparseEmbeddings(CheckedSettings, SparseEmbeddings):
    """BM25 for `QdrantVectorStore`, in any language, without a model or a download.

    The collection's sparse vector needs `Modifier.IDF`, which Qdrant does not set by default;
    without it, all words have the same weight.

    Example:
        ```python
        store = QdrantVectorStore.from_documents(
            documents,
            Qwen3Embeddings(),
            sparse_embedding=BM25SparseEmbeddings(),
            sparse_vector_params={"modifier": models.Modifier.IDF},
            retrieval_mode=RetrievalMode.HYBRID,
            location=":memory:",
        )
        ```

    Raises:
        InputError: A value is out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    k1: float = 1.2
    """How much repetitions of a term count: 0 ignores them, larger values count them more."""

    b: float = 0.75
    """How much long documents are penalised, 0 to 1."""

    avg_len: float = 256.0
    """Average number of terms in a document. Search a collection with the settings that it was
    filled with."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return true: `dumps` and `loads` work."""
        return True

    @property
    def encoder(self) -> BM25Encoder:
        """The core's encoder with these settings."""
        return BM25Encoder(k1=self.k1, b=self.b, avg_len=self.avg_len)

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Encode documents; one without terms gets an empty vector.

        Raises:
            InputTypeError: A text is not a string.
        """
        encoder = self.encoder
        return [_vector(encoder.encode_document(text)) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        """Encode a query: a 1 for each of its terms.

        Raises:
            InputTypeError: `text` is not a string.
        """
        return _vector(self.encoder.encode_query(text))

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.encoder
        return self


class LexicalSparseEmbeddings(BM25SparseEmbeddings):
    """The former name of `BM25SparseEmbeddings`, so that `loads` can read old files."""

    def __new__(cls, **settings: Any) -> Any:
        """Make a `BM25SparseEmbeddings`."""
        return BM25SparseEmbeddings(**settings)


def _vector(weights: Weights) -> SparseVector:
    return SparseVector(indices=weights.indices.tolist(), values=weights.values.tolist())
