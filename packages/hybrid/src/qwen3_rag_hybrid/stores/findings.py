"""`Finding`, a problem with a collection, and what makes them of its record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid.stores.record import BY_NAME, TERMS, CollectionRecord

__all__ = ["Finding", "adopted", "compare", "no_collection", "refuse", "taken", "tenant_finding"]


@dataclass(frozen=True)
class Finding:
    """A problem with a collection.

    Attributes:
        code: A stable name for the kind of problem: `"missing"`, `"record"`, `"model"`, `"dim"`,
            `"encoder"`, `"avg_len"`, `"distance"`, `"dense"`, `"sparse"`, `"idf"`, `"index"`,
            `"property"`, `"schema"` or `"tenants"`.
        severity: An `"error"` prevents searching and adding; a `"warning"` reduces quality or
            speed.
        message: What was found and what was expected.
        remedy: How to fix it.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


def compare(name: str, recorded: CollectionRecord, wanted: CollectionRecord) -> list[Finding]:
    """Report the differences between a collection's record and a searcher's.

    Args:
        name: The collection's name for error messages.
        recorded: The collection's record.
        wanted: The record that this searcher would write.
    """
    findings = _model_findings(name, recorded, wanted)
    if recorded.dim != wanted.dim:
        findings.append(
            Finding(
                "dim",
                "error",
                f"{name} holds vectors of {recorded.dim} numbers, and the embedder gives "
                f"{wanted.dim}.",
                f"Make the embedder with dim={recorded.dim}, or a new collection.",
            )
        )
    if recorded.tenants != wanted.tenants:
        findings.append(tenant_finding(name, has=recorded.tenants))
    if recorded.short_dim != wanted.short_dim:
        findings.append(
            Finding(
                "dim",
                "error",
                f"{name} was made with short_dim {recorded.short_dim}, and not with "
                f"{wanted.short_dim}; it is chosen once.",
                "Leave `short_dim` out, or make a new collection.",
            )
        )
    return findings + _encoder_findings(name, recorded, wanted)


def tenant_finding(name: str, *, has: bool) -> Finding:
    """Report that a collection has tenants and should have none, or the other way round."""
    return Finding(
        "tenants",
        "error",
        f"{name} has {'' if has else 'no '}tenants, which is chosen once, when it is made.",
        "Make a new collection under another name, "
        f"{'without' if has else 'with'} `create(tenants=True)`, and add the documents again.",
    )


def _model_findings(
    name: str, recorded: CollectionRecord, wanted: CollectionRecord
) -> list[Finding]:
    """Report another model, or one of which nothing but a name is known."""
    if not recorded.is_of(wanted.model, wanted.fingerprint):
        message = (
            f"{name} holds vectors of the model {recorded.model!r} (fingerprint "
            f"{recorded.fingerprint}), not of {wanted.model!r} ({wanted.fingerprint}). Vectors of "
            "two models cannot be compared."
        )
        remedy = f"Open {recorded.model!r}, or make a new collection and add the documents again."
        if recorded.model == wanted.model and wanted.fingerprint.startswith(BY_NAME):
            version = recorded.fingerprint.partition("@")[2]
            same = f"with the revision {version!r}" if version else "without a revision"
            remedy = (
                "If the server has another version of it now, make a new collection and add the "
                f"documents again; if it is the same, open the model {same}."
            )
        return [Finding("model", "error", message, remedy)]
    if recorded.fingerprint == wanted.fingerprint == f"{BY_NAME}{wanted.model}":
        return [
            Finding(
                "model",
                "warning",
                f"{name} knows its model by the name {wanted.model!r} alone, as the server does "
                "not tell which weights it has, so others under that name would not be noticed.",
                "For the next collection, name the version on the server: `Remote(..., "
                "revision=...)`.",
            )
        ]
    return []


def _encoder_findings(
    name: str, record: CollectionRecord, wanting: CollectionRecord
) -> list[Finding]:
    """Report different terms, or else the parameters that differ."""
    if not record.has_terms:
        return []
    recorded, wanted = record.encoder, wanting.encoder
    remedy = "Call `renew_bm25(store)`, which embeds nothing."
    if record.is_of_later_encoder:
        remedy = "Update qwen3-rag."
    if record.is_being_renewed:
        message = f"The renewal of the BM25 vectors of {name} is under way, or was interrupted."
        return [Finding("encoder", "error", message, "Call `renew_bm25(store)` again to end it.")]
    for key in TERMS:
        if recorded.get(key) != wanted[key]:
            return [
                Finding(
                    "encoder",
                    "error",
                    f"{name} was filled by a BM25 encoder with {key} {recorded.get(key)}, and this "
                    f"one has {wanted[key]}. They give different terms.",
                    remedy,
                )
            ]
    return [
        Finding(
            "encoder",
            "error",
            f"{name} was filled by a BM25 encoder with {key} {recorded.get(key)}, and this one has "
            f"{value}.",
            f"Pass `encoder=BM25Encoder({key}={recorded.get(key)})`, or make a new collection.",
        )
        for key, value in sorted(wanted.items())
        if recorded.get(key) != value
    ]


def no_collection(collection: str) -> Finding:
    """Report that there is no collection of that name."""
    return Finding(
        "missing",
        "error",
        f"There is no collection {collection!r}.",
        "Make it with `create()`, and check the name.",
    )


def taken(alias: str) -> str:
    """Say that an alias cannot be made, because a collection has its name."""
    return (
        f"{alias!r} is the name of a collection, so it cannot be an alias. Choose another alias, "
        "and open the collection by it from now on."
    )


def adopted(
    name: str,
    recorded: CollectionRecord | None,
    wanted: CollectionRecord,
    *,
    adopt: bool,
    count: Callable[[], int],
) -> CollectionRecord:
    """Return the record to write to an existing collection whose shape matches.

    Args:
        name: The collection's name for error messages.
        recorded: The collection's record, `None` if it has none.
        wanted: The record that this searcher would write.
        adopt: Whether to use a collection that has documents but no record.
        count: Counts the documents.

    Raises:
        StoreError: The records differ in more than their fields, or there is none and the
            collection is not to be adopted.
    """
    if recorded is not None:
        refuse(compare(name, recorded, wanted))
        return replace(wanted, format=recorded.format)
    if not adopt and count():
        raise StoreError(
            f"{name} has documents in it but no record of the model they were made with. If they "
            f"are vectors of {wanted.model!r} and terms of this BM25 encoder, take it over with "
            "`create(adopt=True)`; otherwise choose another name."
        )
    return wanted


def refuse(findings: Iterable[Finding]) -> None:
    """Raise an error if any finding is one.

    Raises:
        StoreError: There is at least one error.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise StoreError("\n".join(str(finding) for finding in errors))
