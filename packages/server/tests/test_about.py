"""What the server tells of itself and its models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx

import qwen3_rag_tiny
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_server import RunningServer, Served, Settings

#: The fields of Text Embeddings Inference 1.9.
TEI = (
    *("model_id", "model_sha", "model_dtype", "served_model_name", "model_type"),
    *("max_concurrent_requests", "max_input_length", "max_batch_tokens", "max_batch_requests"),
    *("max_client_batch_size", "auto_truncate", "tokenization_workers"),
    *("version", "sha", "docker_label"),
)


def test_info_has_the_fields_of_tei_and_each_models_fingerprint(
    client: httpx.Client, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    told = client.get("/info").json()

    assert set(TEI) <= set(told)
    assert (told["model_id"], told["model_dtype"]) == ("tiny", "float32")
    assert told["model_type"] == {"embedding": {"pooling": "last_token"}}
    assert (told["max_input_length"], told["max_client_batch_size"]) == (4_096, 2_048)
    assert told["auto_truncate"] is False
    for role, model in (("embedding", embedder), ("reranking", reranker)):
        assert told["models"][role]["fingerprint"] == model.warm_up().fingerprint
        assert told["models"][role]["dim"] == model.warm_up().dim
    assert told["model_sha"] == embedder.warm_up().fingerprint


def test_the_longest_input_is_what_is_set_else_what_the_checkpoint_says(tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(qwen3_rag_tiny.embedding_folder(), folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 100}')
    cases: tuple[tuple[dict[str, Any], int], ...] = (({}, 100), ({"max_length": 70}, 70))
    for settings, longest in cases:
        with (
            Qwen3Embedder(folder, **settings) as model,
            RunningServer(Served(model), Settings(max_texts=3), port=0) as server,
        ):
            told = httpx.get(f"{server.url}/info").json()
        assert (told["max_input_length"], told["max_client_batch_size"]) == (longest, 3)
        assert told["max_batch_tokens"] == 3 * longest
        assert told["model_id"] == "short"
        assert str(tmp_path) not in str(told)


def test_a_reranker_alone_is_told_as_one(reranker: Qwen3Reranker) -> None:
    with RunningServer(Served(None, reranker), port=0) as server:
        told = httpx.get(f"{server.url}/info").json()

    assert list(told["model_type"]) == ["reranker"]
    assert list(told["models"]) == ["reranking"]
    assert told["model_id"] == "tiny"
