"""`CollectionRecord`: what a collection was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from qwen3_rag.lexical import ENCODER_VERSION, BM25Encoder

__all__ = [
    "BY_NAME",
    "RENEWING",
    "TERMS",
    "CollectionRecord",
    "LaterFormatError",
    "check_format",
]

#: Parameters of an encoder that decide its terms.
TERMS = ("encoder_version", "snowball")

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


class LaterFormatError(ValueError):
    """A later release wrote this, and this one cannot read it."""


def check_format(found: object, latest: int) -> None:
    """Check the format of what was written.

    Args:
        found: The format.
        latest: The latest one that this release can read.

    Raises:
        LaterFormatError: It is a later one.
        ValueError: It is none.
    """
    if isinstance(found, int) and found > latest:
        raise LaterFormatError(f"format {found}, and {latest} is the latest known")
    if found not in range(1, latest + 1):
        raise ValueError(f"format {found!r}, and {latest} is the latest known")


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
        return all(self.encoder.get(key) == present[key] for key in TERMS)

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
            LaterFormatError: The values have a later format.
            ValueError: The values are not a record.
        """
        check_format(values.get("format"), _WITH_SHORT)
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
