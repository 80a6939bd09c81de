"""Ids and payloads: what is taken, what it becomes, what is refused."""

from __future__ import annotations

import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag import InputError, InputTypeError, StoreError
from qwen3_rag_hybrid import Document
from qwen3_rag_hybrid.documents import Keys, check_documents, from_payload, point_id, to_payload

KEYS = Keys()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def test_an_id_always_becomes_the_same_uuid() -> None:
    # Collections out there were filled with these: a change would orphan their documents.
    assert point_id("docs/a.md#3") == "22218d90-4ab7-5d25-9274-6d48ebc39cac"
    assert point_id("ü") == "ad5f9069-3b94-52c5-aa39-1a6def25de20"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_string_becomes_a_uuid(id_: str) -> None:
    assert str(UUID(str(point_id(id_)))) == point_id(id_)


def test_numbers_and_uuids_stay() -> None:
    uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

    assert point_id(2**64 - 1) == 2**64 - 1
    assert point_id(uuid) == uuid
    # Another spelling is another id.
    assert point_id(uuid.upper()) not in (uuid, uuid.upper())


@pytest.mark.parametrize("id_", ["", -1, 2**64, "\ud800"])
def test_unusable_ids_are_refused(id_: str | int) -> None:
    with pytest.raises(InputError):
        point_id(id_)


@pytest.mark.parametrize("id_", [1.0, None, True, b"a"])
def test_ids_of_other_types_are_refused(id_: Any) -> None:
    with pytest.raises(InputTypeError, match="must be a str or int"):
        point_id(id_)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_any_json_payload_comes_back(payload: dict[str, Any]) -> None:
    payload = {key: value for key, value in payload.items() if key not in ("text", "_id")}
    document = Document("a", "text", payload)

    assert from_payload("stored", to_payload(document, KEYS), KEYS) == document


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"when": datetime.date(2026, 1, 1)}, r"\['when'\].*date.*isoformat"),
        ({"deep": [{"x": {1, 2}}]}, r"\['deep'\]\[0\]\['x'\].*set"),
        ({"n": float("nan")}, "nan, a number"),
        ({"n": 2**70}, "a number that JSON"),
        ({1: "x"}, "strings for keys, got 1"),
        ({"s": "\ud800"}, "lone surrogate"),
        ({"text": "x"}, "field 'text', which the collection keeps"),
        ({"_id": "x"}, "field '_id'"),
        (["x"], "must be a mapping"),
    ],
)
def test_what_a_store_would_choke_on_is_named(payload: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_documents([Document("fine", "x"), Document("a", "x", payload)], KEYS)


def test_something_else_than_documents_is_refused() -> None:
    with pytest.raises(InputTypeError, match="must be a list of Document, got str"):
        check_documents("abc", KEYS)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match=r"`documents\[0\]` must be a Document, got str"):
        check_documents(["abc"], KEYS)  # type: ignore[list-item]


def test_a_point_without_text_says_which_fields_there_are() -> None:
    with pytest.raises(StoreError, match=r"no text.*'text'.*'page_content'.*text_key"):
        from_payload(1, {"page_content": "x"}, KEYS)
