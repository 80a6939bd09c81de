"""Addresses of collections, and stores that are opened by them."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from qwen3_rag import InputError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, Store, StoreAddress, open_store
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.store_corpus import DOCUMENTS, FIELDS, make_embedder


@pytest.mark.parametrize(
    "address",
    [
        "index",
        "an index: with a colon",
        "C:\\index",
        "qdrant://localhost:6333/documents",
        "qdrant://localhost:6333/documents?grpc_port=6334&text_key=page_content",
        "qdrant+https://a.cloud.qdrant.io:6333/a%20b%2Fc",
        "weaviate://127.0.0.1:8080/Documents?grpc_host=grpc.local&grpc_port=50052",
        "weaviate+https://cluster.weaviate.cloud/Documents",
        "milvus://localhost:19530/documents",
        "milvus://localhost:19530/other/documents",
        "milvus+https://in03.zillizcloud.com/documents",
        "milvus://[::1]:19530/documents",
        "milvus:data/index.db/documents",
        "milvus:/data/index.db/documents",
        "qdrant:index/documents?dense=",
    ],
)
def test_an_address_comes_back_as_it_was_given(address: str) -> None:
    assert str(StoreAddress.parse(address)) == address


def test_parts_left_out_have_defaults() -> None:
    assert str(StoreAddress.parse("qdrant://db/docs")) == "qdrant://db:6333/docs"
    assert str(StoreAddress.parse("QDRANT+http://db/docs/")) == "qdrant://db:6333/docs"
    assert StoreAddress.parse("milvus+https://db/docs").server == "https://db"
    assert StoreAddress.parse("milvus:///data/a.db/docs").path == Path("/data/a.db")
    assert StoreAddress.parse(Path("qdrant:")).kind == "edge"


@pytest.mark.parametrize(
    "address",
    [
        "qdrant://user:pass/s3cret@localhost/documents",
        "milvus://root:s3cret@localhost:19530/documents",
        "milvus://s3cret@localhost:19530/documents",
        "weaviate://localhost/Documents?api_key=s3cret",
        "qdrant+https://localhost/documents?apiKey=s3cret",
        "milvus://localhost/documents?token=s3cret",
        "http://user:s3cret@localhost:6333",
        "http://localhost:6333/?password=s3cret",
        "qdrant+ftp://user:s3cret@localhost/documents",
        "qdrant://user:s3cret@local host:x/documents",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InputError) as raised:
        StoreAddress.parse(address)

    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in repr(raised.value.__cause__)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "A store is a folder, qdrant://"),
        ("http://localhost:6333", "A store is a folder, qdrant://"),
        ("qdrant://localhost:6333", "must name a host and one collection"),
        ("qdrant://localhost/a/b", "must name a host and one collection"),
        ("qdrant:///documents", "must name a place on this machine and a collection"),
        ("qdrant://localhost/a#b", "must name a host and one collection"),
        ("milvus://localhost/a/b/c", "milvus://HOST:19530/DATABASE/COLLECTION"),
        ("qdrant://localhost:port/documents", "no valid host and port"),
        ("qdrant+grpc://localhost/documents", r"qdrant\+https://"),
        ("qdrant://localhost/documents?grpc_port=x", "`grpc_port` must be a port"),
        ("milvus:index/documents", "milvus:FILE.db/COLLECTION"),
        ("weaviate:index/Documents", "Weaviate is always a server"),
    ],
)
def test_an_address_that_names_no_collection_says_what_does(address: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        StoreAddress.parse(address)


def use(store: Store) -> None:
    with HybridSearcher(store, make_embedder()) as searcher:
        searcher.create(fields=FIELDS)
        searcher.add(DOCUMENTS)
        filter = store.matching({"path": ["a.md"]})
        assert searcher.search("capital of France", limit=1, filter=filter)[0].id == "france"


def test_a_folder_opens(tmp_path: Path) -> None:
    use(open_store(tmp_path / "index"))

    with closing(open_store(str(tmp_path / "index"))) as store:
        assert store.count() == len(DOCUMENTS)


# The client leaves the lock file that it could not lock to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_of_local_mode_opens_and_is_free_again_when_closed(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    address = f"qdrant:{tmp_path}/documents"
    use(open_store(address))

    with closing(open_store(address)) as store:
        assert store.count() == len(DOCUMENTS)
        with pytest.raises(StoreError, match="Only one process at a time"):
            open_store(address)
        gc.collect()


def test_a_qdrant_server_opens_with_its_own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "")
    with QdrantServer() as server:
        address = server.url.replace("http:", "qdrant:") + "/documents"
        store: Any = open_store(address)
        use(store)

        with pytest.raises(StoreError):  # closed with the searcher
            store.count()
        with closing(open_store(address)) as again:
            assert again.count() == len(DOCUMENTS)


def test_a_clients_names_come_with_the_address(tmp_path: Path) -> None:
    with closing(QdrantClient(path=str(tmp_path))) as client:
        from qdrant_client import models

        size = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection("theirs", vectors_config=size)
        payload = {"page_content": "Paris", "metadata": {"page": 1}}
        client.upsert(
            "theirs", [models.PointStruct(id=1, vector=[1.0, 0.0, 0.0, 0.0], payload=payload)]
        )

    with closing(open_store(f"qdrant:{tmp_path}/theirs?dense=&text_key=page_content")) as store:
        [point] = store.scan()

    assert point.document == Document(1, "Paris", {"metadata": {"page": 1}})
    with pytest.raises(
        InputError, match=r"option 'text_kex'.*takes layout, dense, sparse, text_key"
    ):
        open_store(f"qdrant:{tmp_path}/theirs?text_kex=page_content")


def test_milvus_lite_opens(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    address = f"milvus:{tmp_path}/index.db/documents"
    use(open_store(address))

    with closing(open_store(address)) as store:
        assert store.count() == len(DOCUMENTS)
    with pytest.raises(StoreError, match="its folder must exist"):
        open_store(f"milvus:{tmp_path}/no/index.db/documents")


def test_a_weaviate_server_opens(weaviate_address: dict[str, Any], collection: str) -> None:
    port, grpc_port = weaviate_address["port"], weaviate_address["grpc_port"]
    use(open_store(f"weaviate://127.0.0.1:{port}/{collection}?grpc_port={grpc_port}"))

    with pytest.raises(StoreError, match="Check that Weaviate runs there, and the host and ports"):
        open_store(f"weaviate://127.0.0.1:{port}/{collection}?grpc_port=1")


@pytest.mark.parametrize("kind", ["qdrant", "weaviate", "milvus"])
@pytest.mark.parametrize("key", [None, "s3cret"])
def test_a_server_that_does_not_answer_is_an_error_that_says_what_to_do(
    kind: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = {"qdrant": "qdrant_client", "weaviate": "weaviate", "milvus": "pymilvus"}[kind]
    pytest.importorskip(client, reason=f"{client} is not installed")
    variable = "MILVUS_TOKEN" if kind == "milvus" else f"{kind.upper()}_API_KEY"
    monkeypatch.delenv(variable, raising=False)
    if key:
        monkeypatch.setenv(variable, key)

    with pytest.raises(StoreError) as raised:
        open_store(f"{kind}+https://127.0.0.1:1/documents")

    told = str(raised.value)
    assert told.startswith("https://127.0.0.1:1 cannot be used: ")
    assert f"Check that {kind.capitalize()} runs there" in told
    assert told.endswith(f"{variable}, which {'is' if key else 'is not'} set.")
    assert "s3cret" not in told


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_key_is_sent_and_a_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers["api-key"] == "s3cret"
            body = b'{"result": {"exists": false}, "status": "ok", "time": 0}' if right else b"no"
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"qdrant://127.0.0.1:{server.server_port}/documents"
        monkeypatch.setenv("QDRANT_API_KEY", "s3cret")
        with closing(open_store(address)) as store:
            assert store.record() is None
        with pytest.raises(StoreError, match=r"401.*QDRANT_API_KEY, which is set") as raised:
            open_store(address, api_key="wr0ng")
        server.shutdown()

    assert "wr0ng" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "client", "extra"),
    [
        ("qdrant://localhost/documents", "qdrant_client", "qdrant"),
        ("weaviate://localhost/Documents", "weaviate", "weaviate"),
        ("milvus://localhost/documents", "pymilvus", "milvus"),
        ("milvus:index.db/documents", "milvus_lite", "milvus-lite"),
    ],
)
def test_a_missing_client_is_named_with_the_line_that_installs_it(
    address: str, client: str, extra: str
) -> None:
    # In a process of its own: modules that are imported twice would stay behind for other tests.
    code = (
        f"import sys\nsys.modules[{client!r}] = None\n"
        "from qwen3_rag import MissingExtraError\nfrom qwen3_rag_hybrid import open_store\n"
        f"try:\n    open_store({address!r})\n"
        "except MissingExtraError as error:\n    print(error)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f'pip install "qwen3-rag-hybrid[{extra}]"' in said.stdout
