"""What a collection records about how it was filled, and what is wrong when that does not fit.

Knows the record and its comparison; knows no store's way to keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from qwen3_rag.errors import InputError, InputTypeError, StoreError

__all__ = [
    "FIELD_TYPES",
    "CollectionSettings",
    "Finding",
    "check_fields",
    "compare",
    "refuse",
]

#: Kinds of payload fields that can be declared.
FIELD_TYPES = ("keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo")

_FORMAT = 1


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a collection.

    Attributes:
        code: A stable name of the kind: `"missing"`, `"record"`, `"model"`, `"dim"`, `"encoder"`,
            `"distance"`, `"dense"`, `"lexical"`, `"idf"` or `"index"`.
        severity: An `"error"` stops searching and adding; a `"warning"` costs quality or speed.
        message: What was found and what was expected.
        remedy: What to do about it.
    """

    code: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


@dataclass(frozen=True)
class CollectionSettings:
    """The record beside the vectors.

    Attributes:
        model: Name of the embedding model, for people.
        fingerprint: Of its weights.
        dim: Size of the dense vectors.
        encoder: Version and settings of the lexical encoder.
        fields: Declared payload fields and their types; empty where nothing was declared.
        version: Of this package when the collection was made.
    """

    model: str
    fingerprint: str
    dim: int
    encoder: Mapping[str, float]
    fields: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the record as plain JSON values."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CollectionSettings:
        """Read what `as_dict` gave.

        Raises:
            ValueError: It is not such a record, or one of a later format.
        """
        if values.get("format") != _FORMAT:
            raise ValueError(f"format {values.get('format')!r} instead of {_FORMAT}")
        try:
            return cls(
                model=str(values["model"]),
                fingerprint=str(values["fingerprint"]),
                dim=int(values["dim"]),
                encoder={str(name): value for name, value in dict(values["encoder"]).items()},
                fields={str(name): str(kind) for name, kind in dict(values["fields"]).items()},
                version=str(values["version"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__} on {error}") from error


def compare(name: str, recorded: CollectionSettings, wanted: CollectionSettings) -> list[Finding]:
    """Name what a collection was filled with that a searcher is not.

    Args:
        name: The collection, for messages.
        recorded: What it was made for.
        wanted: What the searcher has.
    """
    findings = []
    if recorded.fingerprint != wanted.fingerprint:
        findings.append(
            Finding(
                "model",
                "error",
                f"{name} holds vectors of the model {recorded.model!r} (fingerprint "
                f"{recorded.fingerprint}), not of {wanted.model!r} ({wanted.fingerprint}). Vectors "
                "of two models cannot be compared.",
                f"Open {recorded.model!r}, or make a new collection and add the documents again.",
            )
        )
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
    for key in sorted({*recorded.encoder, *wanted.encoder}):
        old, new = recorded.encoder.get(key), wanted.encoder.get(key)
        if old != new:
            findings.append(_encoder_finding(name, key, old, new))
    return findings


def _encoder_finding(name: str, key: str, old: float | None, new: float | None) -> Finding:
    message = f"{name} was filled by a lexical encoder with {key} {old}, and this one has {new}."
    remedy = f"Pass `encoder=BM25Encoder({key}={old})`, or make a new collection."
    if key == "encoder_version":
        remedy = (
            "Make a new collection and add the documents again, or install the release of "
            "qwen3-rag that filled it."
        )
    return Finding("encoder", "error", message, remedy)


def refuse(findings: Iterable[Finding]) -> None:
    """Raise what must not be ignored.

    Raises:
        StoreError: There is an error among the findings.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise StoreError("\n".join(str(finding) for finding in errors))


def check_fields(fields: Mapping[str, str] | None) -> dict[str, str]:
    """Make sure declared payload fields have types there are."""
    if fields is not None and not isinstance(fields, Mapping):
        raise InputTypeError(
            f'`fields` must map names to types, as in {{"path": "keyword"}}, got {fields!r}.'
        )
    for name, kind in (fields or {}).items():
        if not isinstance(name, str) or not name:
            raise InputTypeError(f"`fields` must have the fields' names for keys, got {name!r}.")
        if kind not in FIELD_TYPES:
            raise InputError(
                f"The type of the field {name!r} must be one of {', '.join(FIELD_TYPES)}, got "
                f"{kind!r}."
            )
    return dict(fields or {})
