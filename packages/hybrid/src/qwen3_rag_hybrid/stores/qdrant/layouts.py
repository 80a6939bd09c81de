"""Where Qdrant collections of LangChain, LlamaIndex, Haystack and this package have what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Keys, point_id
from qwen3_rag_hybrid.stores.qdrant.tenants import TENANT
from qwen3_rag_hybrid.stores.short import SHORT

__all__ = ["Layout", "VectorNames", "layout_of"]

# Namespace of the UUIDs that qdrant-haystack makes of ids.
_HAYSTACK = UUID("3896d314-1e95-4a3a-b45a-945f9f0b541d")
_OLD_SPARSE = "lexical"


@dataclass(frozen=True)
class VectorNames:
    """The names of a collection's vectors.

    Attributes:
        dense: The dense vector, `""` for the unnamed one.
        sparse: The sparse vector with the terms; `None` if there is none.
        short_dim: Size of the short vectors; `None` if there are none.
    """

    dense: str
    sparse: str | None
    short_dim: int | None = None


@dataclass(frozen=True)
class Layout:
    """Where a collection has what.

    Attributes:
        keys: Where the parts of a document are in the payload.
        dense: Names that the dense vector may have; a new collection's has the first.
        place: Maps a document's id to that of its point.
        sparse: Name of the sparse vector with the terms; `None` to find it.
        is_foreign: Whether the collection may lack terms.
        only_vector: Whether an unnamed dense vector has to stay the only vector, because the
            framework takes all that a point has for it.
        tenant: The tenant whose documents these are, in a collection with tenants.
    """

    keys: Keys
    dense: tuple[str, ...]
    place: Callable[[Id], str | int]
    sparse: str | None = None
    is_foreign: bool = True
    only_vector: bool = False
    tenant: str | None = None

    def for_tenant(self, tenant: str) -> Layout:
        """Make the layout of one tenant's documents."""
        keys = replace(self.keys, tenant=TENANT)
        return replace(self, keys=keys, place=partial(point_id, tenant=tenant), tenant=tenant)

    def names(self, parameters: Any) -> VectorNames:
        """Find the names of a collection's vectors.

        Args:
            parameters: Its `CollectionParams`; `None` for a new collection.
        """
        vectors = parameters.vectors if parameters else None
        have = vectors if isinstance(vectors, dict) else {"": vectors}
        dense = next((name for name in self.dense if have.get(name)), self.dense[0])
        short = have.get(SHORT)
        short_dim = None if short is None else int(short.size)
        if self.sparse is not None:
            return VectorNames(dense, self.sparse, short_dim)
        named = (parameters.sparse_vectors if parameters else None) or {}
        sparse = _OLD_SPARSE if _OLD_SPARSE in named and BM25 not in named else BM25
        lacks_terms = self.is_foreign and parameters and sparse not in named
        return VectorNames(dense, None if lacks_terms else sparse, short_dim)

    def takes_terms(self, names: VectorNames) -> bool:
        """Whether a sparse vector can be added for the terms."""
        return bool(names.dense) or not self.only_vector


def layout_of(
    framework: str | None,
    *,
    dense: str | None,
    sparse: str | None,
    text: str | None,
    id: str | None,
    payload: str | None,
) -> Layout:
    """Make the layout of a framework's collections; `None` is this package's own.

    Names that are not `None` replace the framework's.

    Raises:
        InputError: The framework is unknown.
    """
    if framework is not None and framework not in _FRAMEWORKS:
        raise InputError(
            f"`layout` must be one of {', '.join(map(repr, _FRAMEWORKS))} or None, got "
            f"{framework!r}."
        )
    layout = _OWN if framework is None else _FRAMEWORKS[framework]
    given = {"text": text, "id": id, "payload": payload}
    keys = replace(layout.keys, **{key: name for key, name in given.items() if name is not None})
    names = layout.dense if dense is None else (dense,)
    return replace(layout, keys=keys, dense=names, sparse=sparse)


def _any_uuid(id_: Id) -> str | int:
    """Map an id as `point_id` does, and take UUIDs in any format."""
    if isinstance(id_, str):
        try:
            return str(UUID(id_))
        except ValueError:
            pass
    return point_id(id_)


def _of_haystack(id_: Id) -> str:
    if not isinstance(id_, str):
        raise InputTypeError(
            f"The id of a document in Haystack must be a string, got {id_!r}. Write {str(id_)!r}."
        )
    point_id(id_)  # refuses an empty one
    return str(uuid5(_HAYSTACK, id_))


_OWN = Layout(Keys(), (DENSE,), point_id, is_foreign=False)

_FRAMEWORKS = {
    "langchain": Layout(Keys("page_content", payload="metadata"), ("",), _any_uuid),
    # The dense vector has a name if the collection was made for hybrid search.
    "llama-index": Layout(Keys("", node="_node_content"), ("text-dense", ""), _any_uuid),
    # It has a name if the collection was made with `use_sparse_embeddings=True`.
    "haystack": Layout(
        Keys("content", "id", "meta"), ("text-dense", ""), _of_haystack, only_vector=True
    ),
}
