"""A collection's life: made for one model and encoder, filled, checked before it is used.

Knows the record and when to compare it; knows no store's client, and nothing of searching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from qwen3_rag import Qwen3Embedder
from qwen3_rag.errors import StoreError
from qwen3_rag.integration import FloatArray, check_count, progress_bar
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.documents import Document, Id, Point, check_documents, check_ids, point_id
from qwen3_rag_hybrid.legs import Legs
from qwen3_rag_hybrid.settings import (
    CollectionSettings,
    Finding,
    check_fields,
    compare,
    refuse,
)
from qwen3_rag_hybrid.steps import Call, Steps
from qwen3_rag_hybrid.version import VERSION

__all__ = ["Collection"]


class Collection:
    """What a searcher does with its collection besides searching it; every method is steps."""

    def __init__(
        self,
        legs: Legs,
        embedder: Qwen3Embedder,
        encoder: BM25Encoder,
        store: Callable[[Callable[[], Any]], Call],
    ) -> None:
        """Keep the parts.

        Args:
            legs: The store.
            embedder: Embeds documents.
            encoder: Weighs their words.
            store: Makes a call to the store one that can be awaited.
        """
        self._legs = legs
        self._embedder = embedder
        self._encoder = encoder
        self._store = store
        self._fitting: CollectionSettings | None = None

    def ready(self) -> Steps[CollectionSettings]:
        """Make sure that the collection is there and fits; asked once until it changes here.

        Raises:
            StoreError: It is not, or does not; the message has every reason and its remedy.
        """
        if self._fitting is None:
            wanted = yield from self._wanted()
            self._fitting = yield self._store(partial(self._check, wanted))
        assert self._fitting is not None
        return self._fitting

    def create(self, fields: Mapping[str, str] | None, adopt: bool) -> Steps[None]:
        """See `HybridSearcher.create`."""
        declared = check_fields(fields)
        wanted = yield from self._wanted()
        self._fitting = None
        yield self._store(partial(self._make, wanted, declared, adopt))

    def add(self, documents: Iterable[Document], progress: bool, batch_size: int) -> Steps[int]:
        """See `HybridSearcher.add`."""
        check_count(batch_size, "batch_size", 1)
        items = check_documents(documents, self._legs.keys)
        if not items:
            return 0
        self._fitting = None  # before a write it is worth asking again
        yield from self.ready()
        with progress_bar(progress, len(items), "Adding", "document") as on_done:
            for start in range(0, len(items), batch_size):
                given = items[start : start + batch_size]
                # Of several with one id the last counts, as if they came one after the other.
                batch = list({point_id(document.id): document for document in given}.values())
                texts = [document.text for document in batch]
                vectors = yield Call(
                    partial(self._embedder.embed_documents, texts),
                    partial(self._embedder.aembed_documents, texts),
                )
                yield self._store(partial(self._write, batch, vectors))
                if on_done is not None:
                    on_done(len(given))
        return len(items)

    def delete(self, ids: Iterable[Id]) -> Steps[None]:
        """See `HybridSearcher.delete`."""
        checked = check_ids(ids)
        if checked:
            yield self._store(partial(self._legs.delete, checked))

    def check_collection(self) -> Steps[list[Finding]]:
        """See `HybridSearcher.check_collection`."""
        wanted = yield from self._wanted()
        _, findings = yield self._store(partial(self._findings, wanted))
        return list(findings)

    def _wanted(self) -> Steps[CollectionSettings]:
        """What a collection for this model and encoder records."""
        capabilities = yield Call(self._embedder.warm_up, self._embedder.awarm_up)
        return CollectionSettings(
            model=capabilities.model,
            fingerprint=capabilities.fingerprint,
            dim=self._embedder.dim or capabilities.dim,
            encoder=self._encoder.settings,
            version=VERSION,
        )

    def _make(self, wanted: CollectionSettings, fields: dict[str, str], adopt: bool) -> None:
        recorded = self._legs.settings()
        if recorded is None:
            self._legs.create(replace(wanted, fields=fields), adopt=adopt)
            return
        refuse(self._findings(wanted)[1])
        for name, kind in fields.items():
            if recorded.fields.get(name, kind) != kind:
                raise StoreError(
                    f"{self._legs.name} has the field {name!r} as {recorded.fields[name]!r}, not "
                    f"{kind!r}. Name it otherwise, or make a new collection."
                )
        self._legs.create(replace(recorded, fields={**recorded.fields, **fields}))

    def _write(self, documents: list[Document], vectors: FloatArray) -> None:
        self._legs.upsert(
            [
                Point(document, vector, self._encoder.encode_document(document.text))
                for document, vector in zip(documents, vectors, strict=True)
            ]
        )

    def _check(self, wanted: CollectionSettings) -> CollectionSettings:
        recorded, findings = self._findings(wanted)
        refuse(findings)
        return recorded or wanted

    def _findings(
        self, wanted: CollectionSettings
    ) -> tuple[CollectionSettings | None, list[Finding]]:
        legs = self._legs
        recorded = legs.settings()
        findings = legs.check(replace(wanted, fields=recorded.fields if recorded else {}))
        if any(finding.code == "missing" for finding in findings):
            return recorded, findings
        if recorded is None:
            message = f"{legs.name} has no record of the model its vectors are from."
            remedy = (
                "Call `create()` if it is empty, `create(adopt=True)` if you know that they are "
                f"from {wanted.model!r} and this lexical encoder."
            )
            return None, [*findings, Finding("record", "error", message, remedy)]
        known = {finding.code for finding in findings}  # a dim that the store itself told
        differences = compare(legs.name, recorded, wanted)
        findings += [finding for finding in differences if finding.code not in known]
        return recorded, findings
