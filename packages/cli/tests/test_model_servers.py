"""Models on servers: the same index and hits as here, what is remembered, and wrong set-ups."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import qwen3_rag_tiny

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.model_server import ModelServer, Rejected, Route
from qwen3_rag_testkit.own_servers import VLLMServer

KEY = "the-key-of-the-test"
QUERY = "Who decided about the roof?"


@pytest.fixture(scope="module")
def models(cli: Any) -> list[str]:
    """The models; the reranker is a trained one, whose scores depend on the instruction."""
    return ["--model", str(cli.embedding), "--reranker", "tiny"]


@pytest.fixture(scope="module")
def embedding(cli: Any) -> Iterator[ModelServer]:
    with VLLMServer(cli.embedding, "embedding", api_key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def reranking(cli: Any) -> Iterator[ModelServer]:
    with VLLMServer(qwen3_rag_tiny.reranking_folder(), "reranking") as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)


def told(server: ModelServer) -> list[str]:
    return ["--base-url", server.url, "--api-key-env", "MY_KEY"]


@pytest.fixture
def here(cli: Any, models: list[str], notes: Path, tmp_path: Path) -> Path:
    """The index of `notes`, made in this process in the servers' number format."""
    store = tmp_path / "here"
    cli.index(notes, "--store", store, *models, "--dtype", "float32")
    return store


def record(store: Path) -> dict[str, Any]:
    [manifest] = store.glob("generations/*/manifest.sqlite3")
    rows = sqlite3.connect(manifest)
    values = dict(rows.execute("SELECT name, value FROM record").fetchall())
    rows.close()
    return {name: json.loads(value) for name, value in values.items()}


@pytest.fixture
def served(
    cli: Any, models: list[str], notes: Path, tmp_path: Path, embedding: ModelServer
) -> Path:
    """The index of `notes`, made by a server."""
    store = tmp_path / "served"
    cli.index(notes, "--store", store, *models, *told(embedding))
    return store


def test_an_index_made_by_a_server_is_the_one_made_here(
    cli: Any, notes: Path, here: Path, embedding: ModelServer, reranking: ModelServer
) -> None:
    expected = cli.hits(QUERY, here, "--dtype", "float32")
    embedding.requests.clear()
    reranking.requests.clear()

    hits = cli.hits(QUERY, here, *told(embedding), "--reranker-base-url", reranking.url)
    again = cli.index(notes, "--store", here, *told(embedding))

    assert [hit["id"] for hit in hits] == [hit["id"] for hit in expected]
    for ours, theirs in zip(expected, hits, strict=True):
        assert theirs["score"] == pytest.approx(ours["score"], abs=1e-4)
        assert theirs["ranks"].keys() == ours["ranks"].keys()
    assert embedding.requests
    assert reranking.requests
    assert again["unchanged"] == 3
    assert again["embedded"] == 0


def test_the_vectors_of_a_server_are_those_made_here(cli: Any, served: Path, here: Path) -> None:
    import numpy as np

    theirs, ours = cli.content(served), cli.content(here)

    assert theirs.keys() == ours.keys()
    for id_, (text, payload, dense, sparse) in ours.items():
        assert theirs[id_][:2] == (text, payload)
        assert theirs[id_][3] == sparse
        np.testing.assert_allclose(
            np.frombuffer(theirs[id_][2], np.float32), np.frombuffer(dense, np.float32), atol=1e-5
        )


def test_an_index_remembers_its_servers_and_no_key(
    cli: Any, models: list[str], notes: Path, tmp_path: Path, reranking: ModelServer
) -> None:
    store = tmp_path / "index"
    with VLLMServer(cli.embedding, "embedding") as server:
        addresses = ["--base-url", server.url, "--reranker-base-url", f"{reranking.url}/v1"]
        named = ["--reranker-api", "vllm", "--reranker-served-model", "served"]
        named += ["--reranker-served-revision", "2026-11"]
        cli.index(notes, "--store", store, *models, *addresses, *named)
        server.requests.clear()
        reranking.requests.clear()

        assert cli.hits(QUERY, store)

        assert server.requests
        assert reranking.requests
        kept = record(store)
        assert kept["server"] == {
            "base_url": server.url,
            "api": None,
            "model": None,
            "revision": None,
        }
        assert kept["reranker_server"] == {
            "base_url": reranking.url,
            "api": "vllm",
            "model": "served",
            "revision": "2026-11",
        }
        server.requests.clear()
        cli.index(notes, "--store", store, "--base-url", "none")
        assert cli.hits(QUERY, store, "--reranker-base-url", "none")
        assert record(store)["server"] is None
        assert not server.requests


def test_neither_a_key_nor_its_variable_is_written(served: Path) -> None:
    content = b"".join(path.read_bytes() for path in served.rglob("*") if path.is_file())

    assert b"127.0.0.1" in content
    assert KEY.encode() not in content
    assert b"MY_KEY" not in content


def test_a_key_is_not_sent_to_an_address_that_only_the_index_names(cli: Any, served: Path) -> None:
    said = cli.run("search", QUERY, "--store", served, "--api-key-env", "MY_KEY")

    assert said.code == 2
    assert "Give the server's address with `--base-url`, also if the index remembers" in said.err


def test_options_may_be_set_in_the_environment(
    cli: Any, served: Path, embedding: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN3_RAG_BASE_URL", embedding.url)
    monkeypatch.setenv("QWEN3_RAG_API", "vllm")
    monkeypatch.setenv("QWEN3_RAG_API_KEY_ENV", "MY_KEY")
    embedding.requests.clear()

    assert cli.hits(QUERY, served)
    assert embedding.requests
    embedding.requests.clear()
    assert cli.hits(QUERY, served, "--base-url", "none")
    assert not embedding.requests


def test_another_model_does_not_run_on_the_remembered_server(cli: Any, served: Path) -> None:
    said = cli.run("search", QUERY, "--store", served, "--model", "tiny")

    assert said.code == 3
    assert "was made with the model" in said.err


def test_a_collection_for_several_machines_remembers_no_address(
    cli: Any,
    models: list[str],
    notes: Path,
    tmp_path: Path,
    embedding: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("qdrant_client", reason="no qdrant-client")
    monkeypatch.chdir(notes)
    store = f"qdrant:{tmp_path / 'data'}/notes"
    cli.index(".", "--store", store, *models, *told(embedding))
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("data/**/*") if path.is_file())
    embedding.requests.clear()

    assert cli.hits(QUERY, store)  # here

    assert b"127.0.0.1" not in content
    assert not embedding.requests


def test_a_model_that_only_a_server_has_is_known_by_its_name(
    cli: Any, notes: Path, tmp_path: Path, embedding: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tokenizer that chunks are then counted with would be downloaded.
    monkeypatch.setattr("qwen3_rag_cli.models.DEFAULT_MODEL", str(cli.embedding))
    store = tmp_path / "index"
    hosted = ["--model", "served", "--api", "openai", *told(embedding)]

    cli.index(notes, "--store", store, *hosted, "--reranker", cli.reranking)

    assert cli.hits(QUERY, store, *told(embedding), "--api", "openai")
    again = cli.index(notes, "--store", store, *told(embedding), "--api", "openai")
    assert again["unchanged"] == 3
    other = cli.run("index", notes, "--store", store, *hosted, "--model", "another")
    assert other.code == 3


WRONG: dict[str, tuple[list[str], int, str]] = {
    "no key": (["--base-url", "{url}"], 6, "Give `--api-key-env NAME`."),
    "unset variable": (
        ["--base-url", "{url}", "--api-key-env", "NOT_SET"],
        2,
        "The environment variable 'NOT_SET', which `--api-key-env` names, is not set",
    ),
    "no address": (["--api", "vllm"], 2, "Give the server's address with `--base-url`"),
    "not an address": (["--base-url", "gpu:8000"], 2, "`--base-url` must be like 'http://"),
    "password": (["--base-url", "http://me:pw@gpu"], 2, "give `--api-key-env NAME`."),
    "password elsewhere": (["--base-url", "me:pw@gpu"], 2, "got something else."),
    "unknown api": (["--base-url", "{url}", "--api", "rest"], 2, "cohere; got 'rest'."),
    "no name": (
        ["--base-url", "{url}", "--served-model", " "],
        2,
        "`--served-model` must be a name",
    ),
    "another name": (
        ["--base-url", "{url}", "--api-key-env", "MY_KEY", "--served-model", "x"],
        6,
        "Give one of its names in `--served-model`",
    ),
    "device": (
        ["--base-url", "{url}", "--api-key-env", "MY_KEY", "--device", "cpu"],
        2,
        "`--device` and `--dtype` are for a model in this process",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_option_is_refused_with_what_to_do(
    cli: Any, models: list[str], notes: Path, tmp_path: Path, embedding: ModelServer, wrong: str
) -> None:
    options, code, message = WRONG[wrong]
    arguments = [one.format(url=embedding.url) for one in options]

    said = cli.run("index", notes, "--store", tmp_path / "index", *models, *arguments)

    assert said.code == code
    assert message in said.err
    assert "pw" not in said.err.replace("password", "")
    assert "`api" not in said.err
    assert "`base_url" not in said.err


def test_a_reranker_on_the_server_of_the_embedder_is_refused(
    cli: Any, indexed: Path, embedding: ModelServer
) -> None:
    options = ["--reranker-base-url", embedding.url, "--reranker-api-key-env", "MY_KEY"]

    said = cli.run("search", QUERY, "--store", indexed, *options)

    assert said.code == 6
    assert "--runner generate" in said.err


def test_a_remembered_server_that_is_gone_ends_with_what_to_do(
    cli: Any, models: list[str], notes: Path, tmp_path: Path
) -> None:
    store = tmp_path / "index"
    with VLLMServer(cli.embedding, "embedding") as server:
        cli.index(notes, "--store", store, *models, "--base-url", server.url, "--api", "vllm")

    said = cli.run("search", QUERY, "--store", store)

    assert said.code == 6
    assert server.url in said.err
    assert "Check that the server runs and is not overloaded. The index remembers" in said.err
    assert "`--base-url none` runs the model here" in said.err
    assert cli.hits(QUERY, store, "--base-url", "none")


class Failing(VLLMServer):
    """A server that fails from the second request with many texts on, until it is mended."""

    many = 0
    mended = False

    def routes(self) -> Mapping[str, Route]:
        routes = dict(super().routes())
        embed = routes["/v1/embeddings"]

        def fail(body: Any) -> Any:
            self.many += len(body["input"]) > 8
            if self.many > 1 and not self.mended:
                raise Rejected(503, {"error": "out of memory"})
            return embed(body)

        return {**routes, "/v1/embeddings": fail}


def test_an_index_whose_server_fails_is_continued(
    cli: Any, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen3_rag.backends._remote.http.wait_before", lambda *given: 0)
    store, folder = tmp_path / "index", tmp_path / "files"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number}.md").write_text(f"# {number}\n\nThe note with the number {number}.\n")
    server = Failing(cli.embedding, "embedding")
    with server:
        options = ["--store", store, *models, "--base-url", server.url]

        said = cli.run("index", folder, *options)
        server.mended = True
        again = cli.index(folder, *options)

    assert said.code == 6
    assert "out of memory. Check that the server runs and is not overloaded. This" in said.err
    assert again["unchanged"] > 0
    assert again["unchanged"] + again["indexed"] == again["files"] == again["chunks"] == 200


def test_doctor_tells_of_servers_what_they_are_and_what_is_wrong(
    cli: Any, served: Path, embedding: ModelServer, reranking: ModelServer
) -> None:
    options = [*told(embedding), "--reranker-base-url", reranking.url, "--documents", "3"]
    found = cli.run("doctor", "--store", served, *options, "--json").json

    assert f"vllm at {embedding.url}, which calls it 'served'" in found["models"]["embedding"]
    assert "fingerprint" in found["models"]["embedding"]
    assert "answers the test inputs as such a model does" in found["models"]["embedding"]
    assert f"vllm at {reranking.url}, which calls it 'served'" in found["models"]["reranking"]
    assert found["index"]["state"] == "sound"
    assert found["speed"]["embedding, tokens per second"] > 0

    wrong = cli.run("doctor", "--store", served, "--reranker-base-url", reranking.url, "--json")
    assert "error: " in wrong.json["models"]["embedding"]
    assert "Give `--api-key-env NAME`." in wrong.json["models"]["embedding"]
    assert "not measured" in wrong.json["speed"]["embedding"]


def test_a_collection_is_embedded_anew_by_a_server(
    cli: Any,
    models: list[str],
    notes: Path,
    tmp_path: Path,
    embedding: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("qdrant_client", reason="no qdrant-client")
    monkeypatch.chdir(notes)
    stores = [f"qdrant:{tmp_path / name}/notes" for name in ("old", "new")]
    cli.index(".", "--store", stores[0], *models)
    embedding.requests.clear()

    said = cli.run("reindex", *stores, *told(embedding), "--dim", "32", "--json")

    assert said.code == 0, said.err
    assert said.json["embedded"] == 5
    assert embedding.requests
    assert cli.hits(QUERY, stores[1])


def test_a_damaged_record_of_a_server_is_an_error_of_the_index(cli: Any, indexed: Path) -> None:
    cli.unpublish(indexed)
    for damaged in ({"base_url": "file:///etc/passwd"}, {}, "http://gpu", {"base_url": 5}):
        rows = sqlite3.connect(indexed / "manifest.sqlite3")
        rows.execute("UPDATE record SET value = ? WHERE name = 'server'", (json.dumps(damaged),))
        rows.commit()
        rows.close()

        said = cli.run("search", QUERY, "--store", indexed)

        assert said.code == 3
        assert "remembers a server that cannot be used" in said.err
