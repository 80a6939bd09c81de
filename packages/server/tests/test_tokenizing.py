"""Token ids of prompts, in the shapes of vLLM and Text Embeddings Inference."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

import qwen3_rag_tiny
from packages.server.tests.conftest import DOCUMENTS, QUERY
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_server import RunningServer, Served
from qwen3_rag_testkit.backends import DeterministicBackend

TEXT = "한국어 café 👩‍👩‍👧 text"
TASK = "Find the document"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(qwen3_rag_tiny.embedding_folder() / "tokenizer.json"))


def test_vllm_gets_the_ids_of_the_prompt_and_the_longest_input(
    client: httpx.Client, tokenizer: Tokenizer
) -> None:
    def ask(**options: Any) -> Any:
        body = {"model": "tiny", "prompt": TEXT, **options}
        return client.post("/tokenize", json=body).json()

    ids = tokenizer.encode(TEXT).ids
    told = ask()
    assert told == {"count": len(ids), "max_model_len": 4_096, "tokens": ids, "token_strs": None}
    assert ask(add_special_tokens=False)["tokens"] == ids[:-1]
    named = ask(return_token_strs=True)["token_strs"]
    assert len(named) == len(ids)
    assert named[-1] == "<|endoftext|>"


def test_tei_gets_tokens_with_their_places_in_bytes(
    client: httpx.Client, tokenizer: Tokenizer
) -> None:
    [told] = client.post("/tokenize", json={"inputs": TEXT}).json()

    assert [one["id"] for one in told] == tokenizer.encode(TEXT).ids
    *texts, end = told
    data = TEXT.encode()
    for one in texts:
        assert data[one["start"] : one["stop"]].decode() == one["text"]
        assert not one["special"]
    assert max(one["stop"] for one in texts) == len(data)
    assert end == {
        **{"id": told[-1]["id"], "text": "<|endoftext|>"},
        **{"special": True, "start": None, "stop": None},
    }


def test_counts_are_those_of_the_models_for_queries_documents_and_pairs(
    client: httpx.Client, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    def count(**body: Any) -> list[int]:
        told = client.post("/tokenize", json=body).json()
        rows = told if isinstance(told, list) else told["tokens"]
        return [len(one) for one in rows]

    documents = embedder.embed_documents(DOCUMENTS, details=True).tokens
    queries = embedder.embed_queries([QUERY], details=True).tokens
    told = embedder.embed_queries([QUERY], instruction=TASK, details=True).tokens
    pairs = reranker.score([(QUERY, one) for one in DOCUMENTS], instruction=TASK, details=True)
    assert (documents, queries, told) != (None, None, None)

    assert count(input=DOCUMENTS) == list(documents or ())
    assert count(input=QUERY, input_type="query") == list(queries or ())
    assert count(input=QUERY, model="tiny:query") == list(queries or ())
    assert count(input=QUERY, instruction=TASK) == list(told or ())
    assert count(inputs=QUERY, prompt_name="query") == list(queries or ())
    assert count(query=QUERY, documents=DOCUMENTS, instruction=TASK) == list(pairs.tokens or ())


def test_nothing_is_cut_so_that_the_count_tells_what_does_not_fit(client: httpx.Client) -> None:
    told = client.post("/tokenize", json={"prompt": "word " * 20_000}).json()

    assert told["count"] > 20_000 > told["max_model_len"]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 400, "Give one of `prompt`"),
        ({"prompt": "a", "input": "a"}, 400, "Give one of `prompt`"),
        ({"query": "a"}, 400, "`query` and `documents` together"),
        ({"query": " ", "documents": ["a"]}, 400, "`query` is empty"),
        ({"prompt": "a", "model": "other"}, 404, "'tiny'"),
        ({"query": "a", "documents": ["a"], "add_special_tokens": False}, 400, "must be true"),
        ({"messages": []}, 400, "'messages'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(
    client: httpx.Client, body: Any, status: int, told: str
) -> None:
    answer = client.post("/tokenize", json=body)

    assert answer.status_code == status
    assert told in answer.json()["message"]


def test_a_model_that_runs_elsewhere_has_its_tokens_there() -> None:
    with (
        Qwen3Embedder("any", backend=DeterministicBackend()) as elsewhere,
        RunningServer(Served(elsewhere), port=0) as server,
    ):
        answer = httpx.post(f"{server.url}/tokenize", json={"prompt": "a"})

    assert answer.status_code == 501
    assert "another server runs it" in answer.json()["message"]
