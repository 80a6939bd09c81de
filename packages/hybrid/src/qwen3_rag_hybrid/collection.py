"""Creates, fills and checks a collection for one model and encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

from qwen3_rag import Qwen3Embedder
from qwen3_rag.backends import Capabilities
from qwen3_rag.errors import InputError, StoreError
from qwen3_rag.integration import (
    Call,
    FloatArray,
    Flow,
    Progress,
    check_count,
    check_texts,
    progress_bar,
)
from qwen3_rag.lexical import BM25Encoder, mean_length
from qwen3_rag_hybrid.documents import Document, Id, Point, check_documents, point_id
from qwen3_rag_hybrid.lengths import LEAST_TEXTS, fitting_length
from qwen3_rag_hybrid.removal import check_deletion, others_of, replaced_values
from qwen3_rag_hybrid.stores.base import Store, is_recent, parts
from qwen3_rag_hybrid.stores.fields import check_fields
from qwen3_rag_hybrid.stores.findings import Finding, compare, refuse, tenant_finding
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import check_short_dim
from qwen3_rag_hybrid.stores.tenants import check_use
from qwen3_rag_hybrid.version import VERSION
from qwen3_rag_hybrid.worker import StoreCalls

__all__ = ["Collection"]

_SAMPLED = 1_000  # documents whose mean length `check_collection` compares with the record
_TOLERANCE = 0.25  # of the recorded mean length


class Collection:
    """A searcher's operations on its collection, except search. All of them are flows."""

    def __init__(
        self, store: Store, embedder: Qwen3Embedder, encoder: BM25Encoder | None, calls: StoreCalls
    ) -> None:
        """Store the arguments.

        Args:
            store: The store.
            embedder: Embeds documents.
            encoder: Computes their sparse vectors; `None` for the one that the record describes.
            calls: Runs operations on the store.
        """
        self._store = store
        self._embedder = embedder
        self.encoder = encoder or BM25Encoder()
        self._follows_record = encoder is None
        self._calls = calls
        self._checked: CollectionRecord | None = None
        self._checked_at = 0.0

    def ready(self) -> Flow[CollectionRecord]:
        """Check that the collection exists and matches. The result is cached for a minute.

        Raises:
            StoreError: It does not exist or does not match; the message lists every reason with its
                remedy.
        """
        checked = self._checked
        if checked is None or not is_recent(self._checked_at):
            wanted = yield from self._wanted()
            recorded, findings = yield from self._findings(wanted)
            refuse(findings)
            self._checked = checked = recorded or wanted
            self._checked_at = time.monotonic()
        return checked

    def create(
        self,
        fields: Mapping[str, str] | None,
        sample: Iterable[str] | None,
        adopt: bool,
        tenants: bool,
        short_dim: int | None,
    ) -> Flow[None]:
        """See `HybridSearcher.create`."""
        if tenants:
            self._store.check_tenants()
        declared = check_fields(fields, self._store.field_types)
        texts = None if sample is None else check_texts(sample, "sample")
        if texts is not None and not self._follows_record:
            raise InputError("Pass `encoder` or `sample`: `avg_len` is given, or measured.")
        wanted = yield from self._wanted()
        check_short_dim(short_dim, wanted.dim)
        self._checked = None
        recorded: CollectionRecord | None = yield self._calls.ask(lambda store: store.record())
        if recorded is None:
            if texts is not None:
                length = yield self._calls.compute(partial(fitting_length, texts))
                encoder = replace(self.encoder, avg_len=length)
                wanted = replace(wanted, encoder=encoder.parameters)
            record = replace(wanted, fields=declared, tenants=tenants, short_dim=short_dim)
        else:
            if tenants and not recorded.tenants:
                refuse([tenant_finding(self._store.name, has=False)])
            _, findings = yield from self._findings(replace(wanted, short_dim=short_dim))
            refuse(findings)
            record = replace(recorded, fields=self._joined(recorded.fields, declared))
        yield self._calls.ask(lambda store: store.create(record, adopt=adopt))

    def add(
        self, documents: Iterable[Document], progress: Progress, batch_size: int, tenant: str | None
    ) -> Flow[int]:
        """See `HybridSearcher.add`."""
        check_count(batch_size, "batch_size", 1, required=True)
        calls = self._calls.for_tenant(tenant)
        items = check_documents(documents, calls.store.keys)
        if not items:
            return 0
        self._checked = None  # check the collection before every write
        record = yield from self.ready()
        check_use(self._store.name, record.tenants, calls.store.tenant)
        yield calls.compute(partial(calls.store.check_documents, items, record))
        if self._follows_record and record.has_terms:
            yield from self._measure(record, [document.text for document in items])
        with progress_bar(progress, len(items), "Adding", "document") as on_done:
            for start in range(0, len(items), batch_size):
                given = items[start : start + batch_size]
                yield from self._write(calls, given, record, on_done)
        return len(items)

    def replace(
        self,
        documents: Iterable[Document],
        by: str,
        values: Iterable[str | int] | None,
        progress: Progress,
        batch_size: int,
        tenant: str | None,
    ) -> Flow[int]:
        """See `HybridSearcher.replace`."""
        calls = self._calls.for_tenant(tenant)
        items = check_documents(documents, calls.store.keys)
        record = yield from self.ready()
        check_use(self._store.name, record.tenants, calls.store.tenant)
        replaced = replaced_values(calls.store, items, by, values, record.fields)
        yield from self.add(items, progress, batch_size, tenant)
        kept = {document.id for document in items}
        old: list[Id] = yield calls.compute(partial(others_of, calls.store, by, replaced, kept))
        if old:
            yield calls.ask(lambda store: store.delete(old))
        return len(old)

    def delete(
        self, ids: Iterable[Id] | None, filter: Any, everything: bool, tenant: str | None
    ) -> Flow[None]:
        """See `HybridSearcher.delete`."""
        calls = self._calls.for_tenant(tenant)
        checked = check_deletion(calls.store, ids, filter, everything)
        if checked is not None and filter is None:
            if checked:
                yield calls.ask(lambda store: store.delete(checked))
            return
        if filter is not None:
            record: CollectionRecord | None = yield calls.ask(lambda store: store.record())
            calls.store.check_filter(filter, record.fields if record else {})
            if checked == []:
                return
        matching = None if everything else calls.store.with_ids(filter, checked)
        yield calls.ask(lambda store: store.delete_matching(matching))

    def delete_tenant(self, tenant: str) -> Flow[None]:
        """See `HybridSearcher.delete_tenant`."""
        yield self._calls.compute(partial(self._store.delete_tenant, tenant))

    def check_collection(self) -> Flow[list[Finding]]:
        """See `HybridSearcher.check_collection`."""
        wanted = yield from self._wanted()
        recorded, findings = yield from self._findings(wanted)
        if recorded is None or any(one.severity == "error" for one in findings):
            return findings
        if not recorded.has_terms:
            return [*findings, self._no_terms(recorded)]
        findings += yield self._calls.compute(self._lacking_findings)
        if not (recorded.tenants and any(one.code == "index" for one in findings)):
            # Without its index, a server cannot list the tenants whose texts to measure.
            findings += yield self._calls.compute(partial(self._length_findings, recorded))
        return findings

    def _measure(self, record: CollectionRecord, texts: Sequence[str]) -> Flow[None]:
        """Record the mean length of an empty collection's first texts.

        It is recorded before the first document is written, so that the record describes every
        vector there is, wherever a call is interrupted.
        """
        if len(texts) < LEAST_TEXTS or self.encoder.avg_len != BM25Encoder().avg_len:
            return  # too few, or measured already
        if self._store.tenant is not None:
            return  # those of the other tenants are not to be seen
        written = self._store.tenants if record.tenants else self._store.count
        if (yield self._calls.compute(written)):
            return
        length = yield self._calls.compute(partial(fitting_length, texts))
        self.encoder = replace(self.encoder, avg_len=length)
        self._checked = replace(record, encoder=self.encoder.parameters)
        yield self._calls.compute(partial(self._store.write_record, self._checked))

    def _lacking_findings(self) -> list[Finding]:
        """Report documents that another program added without terms."""
        for point in self._store.lacking_terms():
            if len(self.encoder.encode_document(point.document.text)):
                return [
                    Finding(
                        "sparse",
                        "warning",
                        f"{self._store.name} has documents without BM25 terms, such as "
                        f"{point.document.id!r}, which another program added. They are found by "
                        "their dense vectors only.",
                        "Call `renew_bm25(store)`, which adds the terms and embeds nothing.",
                    )
                ]
        return []

    def _length_findings(self, record: CollectionRecord) -> list[Finding]:
        """Compare the recorded mean length with that of up to 1,000 of the texts."""
        points = chain.from_iterable(one.scan() for one in parts(self._store, record))
        texts = [point.document.text for point in islice(points, _SAMPLED)]
        if len(texts) < LEAST_TEXTS:
            return []
        recorded, found = float(record.encoder["avg_len"]), mean_length(texts)
        if abs(found - recorded) <= _TOLERANCE * recorded:
            return []
        return [
            Finding(
                "avg_len",
                "warning",
                f"{self._store.name} was filled with avg_len {recorded:g} for BM25, and the first "
                f"{len(texts)} documents have {found:.0f} terms on average.",
                f"Call `renew_bm25(store, BM25Encoder(avg_len={found:.0f}))`, which embeds "
                "nothing. A searcher that is given an `encoder` needs the same one.",
            )
        ]

    def _wanted(self) -> Flow[CollectionRecord]:
        """The record of a new collection for this model and encoder."""
        capabilities = yield from self._capabilities()
        return CollectionRecord(
            model=capabilities.model,
            fingerprint=capabilities.fingerprint,
            dim=self._embedder.dim or capabilities.dim,
            encoder=self.encoder.parameters,
            version=VERSION,
        )

    def _capabilities(self) -> Flow[Capabilities]:
        found: Capabilities = yield Call(self._embedder.warm_up, self._embedder.awarm_up)
        return found

    def _joined(self, old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
        for name, kind in new.items():
            if old.get(name, kind) != kind:
                raise StoreError(
                    f"{self._store.name} has the field {name!r} as {old[name]!r}, not {kind!r}. "
                    "Choose another name, or make a new collection."
                )
        return {**old, **new}

    def _write(
        self,
        calls: StoreCalls,
        given: Sequence[Document],
        record: CollectionRecord,
        on_done: Callable[[int], None] | None,
    ) -> Flow[None]:
        # If several documents have the same id, the last one counts, as if they were added one by
        # one.
        documents = list({point_id(document.id): document for document in given}.values())
        texts = [document.text for document in documents]
        progress: Progress = on_done or False
        vectors: FloatArray = yield Call(
            partial(self._embedder.embed_documents, texts, progress=progress),
            partial(self._embedder.aembed_documents, texts, progress=progress),
        )
        points = yield self._calls.compute(
            partial(self._points, documents, vectors, record.has_terms)
        )
        yield calls.ask(lambda store: store.upsert(points))
        if on_done is not None and len(documents) < len(given):
            on_done(len(given) - len(documents))

    def _points(
        self, documents: Sequence[Document], vectors: FloatArray, has_terms: bool
    ) -> list[Point]:
        encode = self.encoder.encode_document
        return [
            Point(document, vector, encode(document.text) if has_terms else None)
            for document, vector in zip(documents, vectors, strict=True)
        ]

    def _findings(
        self, wanted: CollectionRecord
    ) -> Flow[tuple[CollectionRecord | None, list[Finding]]]:
        recorded: CollectionRecord | None = yield self._calls.ask(lambda store: store.record())
        if recorded is not None:
            if wanted.short_dim is None:
                wanted = replace(wanted, short_dim=recorded.short_dim)
            wanted = replace(wanted, fields=recorded.fields, tenants=recorded.tenants)
        needed = wanted
        findings: list[Finding] = yield self._calls.ask(lambda store: store.check(needed))
        codes = {finding.code for finding in findings}
        if "missing" in codes:
            return recorded, findings
        if recorded is None:
            return None, [*findings, self._no_record(wanted)]
        if self._follows_record and recorded.has_present_terms:
            self.encoder = recorded.bm25
            wanted = replace(wanted, encoder=recorded.encoder)
        if recorded.fingerprint == (yield from self._capabilities()).earlier_fingerprint:
            wanted = replace(wanted, fingerprint=recorded.fingerprint)
        if self._store.tenant is not None:
            wanted = replace(wanted, tenants=True)
        differences = compare(self._store.name, recorded, wanted)
        # The store may have reported a wrong dim too.
        return recorded, findings + [one for one in differences if one.code not in codes]

    def _no_terms(self, record: CollectionRecord) -> Finding:
        used = "only its dense vectors are searched"
        if record.text_field:
            used = f"the store's own BM25 searches {record.text_field!r}, with its own analyzer"
        return Finding(
            "sparse",
            "warning",
            f"{self._store.name} has no BM25 terms of qwen3-rag, so {used}.",
            self._store.terms_remedy,
        )

    def _no_record(self, wanted: CollectionRecord) -> Finding:
        return Finding(
            "record",
            "error",
            f"{self._store.name} has no record of the model its vectors are from.",
            "Call `create()` if it is empty, `create(adopt=True)` if you know that they are from "
            f"{wanted.model!r} and this BM25 encoder.",
        )
