"""`CollectionRecord`, the record of a collection, and `Finding`, a problem with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

from qwen3_rag.errors import InputError, InputTypeError, StoreError
from qwen3_rag.lexical import ENCODER_VERSION, BM25Encoder
from qwen3_rag_hybrid.documents import Keys

__all__ = [
    "FIELD_TYPES",
    "RENEWING",
    "CollectionRecord",
    "Finding",
    "adopted",
    "check_declared",
    "check_fields",
    "compare",
    "no_collection",
    "refuse",
    "taken",
    "tenant_finding",
]

#: Types of payload fields. A store may have other names for them and need not support all.
FIELD_TYPES = ("keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo")

# Parameters of an encoder that decide its terms.
_TERMS = ("encoder_version", "snowball")

#: How a fingerprint begins that is made of a model's name, because its content is not known.
BY_NAME = "name:"

#: In place of the encoder's version while some vectors are renewed and others are not.
RENEWING = 0

#: Records of format 1 belong to collections whose sparse vector is named "lexical", unless the user
#: named it; in later formats it is "bm25".
#: Format 3 is that of collections with tenants, which earlier releases must not open. Format 4 is
#: that of collections with short vectors, with or without tenants, to which they must not add.
FORMAT = 2
_WITH_TENANTS = 3
_WITH_SHORT = 4


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


@dataclass(frozen=True)
class CollectionRecord:
    """The record that is stored with a collection's vectors.

    Attributes:
        model: Human-readable name of the embedding model.
        fingerprint: Fingerprint of its weights.
        dim: Size of the dense vectors.
        encoder: Version and parameters of the BM25 encoder. Empty if the documents have no terms of
            one; `{"text_field": NAME}` if the store's own BM25 searches their texts.
        fields: Declared payload fields and their types; empty if none were declared.
        tenants: Whether each document belongs to a tenant.
        version: Version of this package that created the collection.
        extra: What the program that fills the collection keeps with it, as JSON values.
        format: Format of the record. It does not change when fields are added to a collection.
        short_dim: Size of the short vectors that candidates are found by; `None` if there are none.
    """

    model: str
    fingerprint: str
    dim: int
    encoder: Mapping[str, float | str]
    fields: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    format: int = field(default=FORMAT, compare=False)
    tenants: bool = False
    short_dim: int | None = None

    @property
    def has_terms(self) -> bool:
        """Whether the documents have the terms of a BM25 encoder."""
        return "encoder_version" in self.encoder

    @property
    def text_field(self) -> str:
        """The field with the texts that the store's own BM25 searches; empty if none."""
        return str(self.encoder.get("text_field", ""))

    @property
    def has_present_terms(self) -> bool:
        """Whether the BM25 terms are those of this release's encoder; weights may differ."""
        present = BM25Encoder().parameters
        return all(self.encoder.get(key) == present[key] for key in _TERMS)

    @property
    def is_of_later_encoder(self) -> bool:
        """Whether a later release computed the BM25 vectors."""
        return float(self.encoder.get("encoder_version", 0)) > ENCODER_VERSION

    @property
    def is_being_renewed(self) -> bool:
        """Whether a renewal of the BM25 vectors has begun and not ended."""
        return self.encoder.get("encoder_version") == RENEWING

    @property
    def bm25(self) -> BM25Encoder:
        """The encoder with the recorded weights; its terms are this version's."""
        if not self.has_terms:
            return BM25Encoder()
        weights = {name: self.encoder[name] for name in ("k1", "b", "avg_len")}
        return BM25Encoder(**{name: float(value) for name, value in weights.items()})

    def is_of(self, model: str, fingerprint: str) -> bool:
        """Whether the vectors are of a model, by its content, or else by its name.

        The content of a model on a server is often not known; then the name is the caller's word.
        """
        by_name = [one.startswith(BY_NAME) for one in (self.fingerprint, fingerprint)]
        return self.fingerprint == fingerprint or (sum(by_name) == 1 and self.model == model)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        values = {"format": self.format, **asdict(self)}
        if self.tenants:
            values["format"] = _WITH_TENANTS
        if self.short_dim is not None:
            values["format"] = _WITH_SHORT
        # What a collection does not have is left out, as earlier releases do.
        for name in ("extra", "tenants", "short_dim"):
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CollectionRecord:
        """Create a record from the output of `as_dict`.

        Raises:
            ValueError: The values are not a record, or have a later format.
        """
        if values.get("format") not in range(1, _WITH_SHORT + 1):
            raise ValueError(
                f"format {values.get('format')!r}, and {_WITH_SHORT} is the latest known"
            )
        try:
            return cls(
                model=str(values["model"]),
                fingerprint=str(values["fingerprint"]),
                dim=int(values["dim"]),
                encoder={str(name): value for name, value in dict(values["encoder"]).items()},
                fields={str(name): str(kind) for name, kind in dict(values["fields"]).items()},
                version=str(values["version"]),
                extra=dict(values.get("extra") or {}),
                format=values["format"],
                tenants=bool(values.get("tenants", False)),
                short_dim=values.get("short_dim"),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__} on {error}") from error


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
    for key in _TERMS:
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


def check_fields(fields: Mapping[str, str] | None, types: Sequence[str]) -> dict[str, str]:
    """Check that the types of declared payload fields are among a store's `types`."""
    if fields is not None and not isinstance(fields, Mapping):
        raise InputTypeError(
            f'`fields` must map names to types, as in {{"path": "keyword"}}, got {fields!r}.'
        )
    for name, kind in (fields or {}).items():
        if not isinstance(name, str) or not name:
            raise InputTypeError(f"`fields` must have the fields' names for keys, got {name!r}.")
        if kind not in types:
            raise InputError(
                f"The type of the field {name!r} must be one of {', '.join(types)}, got {kind!r}."
            )
    return dict(fields or {})


def check_declared(
    asked: Iterable[str], fields: Mapping[str, str], keys: Keys, *, by: str = "The filter"
) -> None:
    """Reject payload fields that no document has, for a store's `check_filter`.

    Args:
        asked: The fields that a filter names, where `"a.b"` and `"a[].b"` are parts of `"a"`.
        fields: The declared payload fields; if there are none, any field is allowed.
        keys: Payload fields that always exist.
        by: What names the fields, for the error message.

    Raises:
        InputError: A field was not declared.
    """
    if not fields:
        return
    for name in asked:
        if not any(_covers(known, name) for known in (*fields, keys.text, keys.id)):
            close = get_close_matches(name, fields, 1)
            raise InputError(
                f"{by} asks for the field {name!r}"
                + (f" (did you mean {close[0]!r}?)" if close else "")
                + f", but the collection's fields are {', '.join(map(repr, sorted(fields)))}. "
                "Fields are declared with `create(fields=...)`, which also adds new ones."
            )


def _covers(known: str, name: str) -> bool:
    return name == known or name.startswith((f"{known}.", f"{known}["))
