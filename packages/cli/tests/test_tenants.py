"""Indexes of tenants that share a collection."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_hybrid import open_store
from qwen3_rag_testkit.qdrant_server import QdrantServer


@pytest.fixture
def shared(cli: Any, notes: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A collection in which acme has all notes, and globex a file of the same name."""
    monkeypatch.chdir(notes)
    cli.index(".", "--store", address, "--tenant", "acme", *cli.models)
    theirs = notes.parent / "globex" / "notes"
    theirs.mkdir(parents=True)
    (theirs / "roof.md").write_text("# Another roof\n\nThis one is blue.\n", encoding="utf-8")
    monkeypatch.chdir(theirs)
    cli.index(".", "--store", address, "--tenant", "globex")
    monkeypatch.chdir(notes)
    return address


def test_each_tenant_has_an_index_of_its_own(cli: Any, notes: Path, shared: str) -> None:
    (notes / "deep" / "sum.py").unlink()

    again = cli.index(".", "--store", shared, "--tenant", "acme")
    mine = cli.hits("The roof", shared, "--tenant", "acme")
    theirs = cli.hits("The roof", shared, "--tenant", "globex", "--filter", "path=notes/*.md")

    assert (again["unchanged"], again["removed"], again["embedded"], again["chunks"]) == (
        2,
        1,
        0,
        4,
    )
    assert {hit["path"] for hit in mine} == {"notes/roof.md", "notes/deep/diary.txt"}
    assert not any("blue" in hit["text"] for hit in mine)
    assert [hit["id"] for hit in theirs] == ["notes/roof.md#0"]
    assert "blue" in theirs[0]["text"]


def test_doctor_lists_the_tenants_or_examines_one(cli: Any, shared: str) -> None:
    all_ = cli.run("doctor", "--store", shared, "--no-measure", "--json")
    one = cli.run("doctor", "--store", shared, "--tenant", "acme", "--no-measure", "--json")
    said = cli.run("doctor", "--store", shared, "--no-measure").out

    assert all_.code == one.code == 0, all_.err + one.err
    assert all_.json["index"]["tenants"] == ["acme", "globex"]
    assert "chunks" not in all_.json["index"]
    assert "acme, globex" in said
    expected = {"tenant": "acme", "files": 3, "chunks": 5, "state": "sound"}
    assert expected.items() <= one.json["index"].items()


def test_a_tenant_is_named_exactly_where_there_are_tenants(
    cli: Any, shared: str, indexed: Path, notes: Path
) -> None:
    for command in (["index", "."], ["search", "roof"]):
        said = cli.run(*command, "--store", shared)
        assert said.code == 2
        assert "'acme', 'globex'. Name the one to use with --tenant NAME" in said.err
    for command in (["index", "."], ["search", "roof"], ["doctor", "--no-measure"]):
        said = cli.run(*command, "--store", indexed, "--tenant", "acme")
        assert said.code == 2
        assert "an index in a folder has no tenants" in said.err
    said = cli.run("search", "roof", "--store", shared, "--tenant", "acne")
    assert said.code == 3
    assert "no tenant 'acne'. They are 'acme', 'globex'" in said.err


def test_an_index_without_tenants_takes_none(
    cli: Any, notes: Path, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)
    address = f"{server.url.replace('http:', 'qdrant:')}/notes"
    missing = cli.run("search", "roof", "--store", address, "--tenant", "acme")
    cli.index(".", "--store", address, *cli.models)

    assert missing.code == 3
    assert f"--store {address} --tenant acme" in missing.err
    for command in (["index", "."], ["search", "roof"], ["doctor", "--no-measure"]):
        said = cli.run(*command, "--store", address, "--tenant", "acme")
        assert said.code == 2
        assert "has no tenants. Leave out --tenant" in said.err


def test_all_tenants_are_embedded_anew(
    cli: Any, notes: Path, shared: str, tmp_path: Path, server: QdrantServer
) -> None:
    new = f"{server.url.replace('http:', 'qdrant:')}/new"

    said = cli.run("reindex", shared, new, "--dim", "48", "--short-dim", "32", "--json")
    renewed = cli.run("reindex", new, "--lexical", "--json")
    updated = cli.index(".", "--store", new, "--tenant", "acme")
    theirs = cli.hits("roof", new, "--tenant", "globex")

    assert (said.json["documents"], said.json["embedded"]) == (6, 6), said.err
    assert (renewed.code, renewed.json["documents"]) == (0, 6)
    assert (updated["unchanged"], updated["embedded"]) == (3, 0)
    assert [hit["id"] for hit in theirs] == ["notes/roof.md#0"]
    with closing(open_store(new)) as store:
        record = store.record()
    assert record is not None
    assert (record.dim, record.short_dim, record.tenants) == (48, 32, True)


def test_terms_of_another_release_are_renewed_for_all_tenants(cli: Any, shared: str) -> None:
    with closing(open_store(shared)) as store:
        record = store.record()
        assert record is not None
        before = {**record.encoder, "encoder_version": 1}
        store.write_record(replace(record, encoder=before))

    refused = cli.run("search", "roof", "--store", shared, "--tenant", "globex")
    summary = cli.index(".", "--store", shared, "--tenant", "acme")

    assert refused.code == 3
    assert (summary["renewed"], summary["embedded"]) == (6, 0)
    assert cli.hits("roof", shared, "--tenant", "globex")
