"""Contracts of backends and of the two model classes, as test classes to subclass.

class TestMyBackend(BackendContract):
    def make_backend(self, role):
        return MyBackend().start("any", role)
"""

from __future__ import annotations

import asyncio
import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qwen3_rag import InputError, InputTypeError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag_testkit.backend_contract import TEXTS, BackendContract
from qwen3_rag_testkit.loops import keeps_ticking

__all__ = ["TEXTS", "BackendContract", "EmbedderContract", "RerankerContract"]


class _ModelContract:
    """The base class of both contracts."""

    tolerance = 0.0

    def same(self, left: object, right: object) -> bool:
        """Compare numbers within the tolerance."""
        return bool(np.allclose(np.asarray(left), np.asarray(right), rtol=0, atol=self.tolerance))


class EmbedderContract(_ModelContract, ABC):
    """The tests that every embedder passes. Subclass it and implement `make_embedder`."""

    @abstractmethod
    def make_embedder(self, **settings: Any) -> Qwen3Embedder:
        """Make a new embedder with these arguments."""

    @pytest.fixture
    def embedder(self) -> Iterator[Qwen3Embedder]:
        with self.make_embedder() as embedder:
            yield embedder

    def test_vectors_have_unit_length(self, embedder: Qwen3Embedder) -> None:
        vectors = embedder.embed_documents(TEXTS)

        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_order_is_kept(self, embedder: Qwen3Embedder) -> None:
        vectors = embedder.embed_documents(TEXTS)
        backwards = embedder.embed_documents(TEXTS[::-1])

        assert self.same(vectors, backwards[::-1])

    def test_empty_list_gives_no_rows(self, embedder: Qwen3Embedder) -> None:
        assert embedder.embed_documents([]).shape == (0, embedder.warm_up().dim)
        assert embedder.embed_queries([]).shape == (0, embedder.warm_up().dim)

    def test_query_vector_differs_from_document_vector(self, embedder: Qwen3Embedder) -> None:
        text = "what is the capital of France"

        assert not self.same(embedder.embed_queries([text]), embedder.embed_documents([text]))

    def test_instruction_per_call_and_per_query(self, embedder: Qwen3Embedder) -> None:
        default, code = embedder.embed_queries(["a", "a"], instruction=["Find text", "Find code"])
        [again] = embedder.embed_queries(["a"], instruction="Find code")
        other = self.make_embedder(instruction="Find code")
        [own] = other.embed_queries(["a"])
        other.close()

        assert not self.same(default, code)
        assert self.same(code, again)
        assert self.same(code, own)

    def test_short_vectors_are_normalised_prefixes(self, embedder: Qwen3Embedder) -> None:
        full = embedder.embed_documents(TEXTS)
        with self.make_embedder(dim=32) as small:
            short = small.embed_documents(TEXTS)

        beginning = full[:, :32]
        np.testing.assert_allclose(
            short, beginning / np.linalg.norm(beginning, axis=1, keepdims=True), atol=1e-5
        )

    def test_dim_beyond_the_model_is_an_error(self) -> None:
        with self.make_embedder(dim=30_000) as embedder:
            for _ in range(2):  # also once the model is open
                with pytest.raises(InputError, match="`dim` must be from 32"):
                    embedder.embed_documents(["a"])

    def test_async_equals_sync(self, embedder: Qwen3Embedder) -> None:
        async def both() -> tuple[object, object]:
            return await asyncio.gather(
                embedder.aembed_documents(TEXTS), embedder.aembed_queries(["a"])
            )

        documents, queries = asyncio.run(both())

        assert self.same(documents, embedder.embed_documents(TEXTS))
        assert self.same(queries, embedder.embed_queries(["a"]))

    def test_a_string_instead_of_a_list_is_an_error(self, embedder: Qwen3Embedder) -> None:
        with pytest.raises(InputTypeError, match="Put it in a list"):
            embedder.embed_documents("a string")

    def test_blank_query_is_an_error_that_names_its_index(self, embedder: Qwen3Embedder) -> None:
        with pytest.raises(InputError, match=r"queries\[1\]"):
            embedder.embed_queries(["fine", " \n"])

    def test_inputs_are_not_changed(self, embedder: Qwen3Embedder) -> None:
        texts = list(TEXTS)

        embedder.embed_documents(texts)

        assert texts == TEXTS

    def test_event_loop_keeps_ticking(self, embedder: Qwen3Embedder) -> None:
        embedder.warm_up()

        asyncio.run(keeps_ticking(embedder.aembed_documents(TEXTS * 20)))

    def test_calls_start_no_threads(self, embedder: Qwen3Embedder) -> None:
        embedder.embed_queries(["a"])
        before = threading.active_count()

        for _ in range(20):
            embedder.embed_queries(["a"])
            asyncio.run(embedder.aembed_queries(["a"]))

        assert threading.active_count() <= before + 2

    def test_copies_work(self, embedder: Qwen3Embedder) -> None:
        expected = embedder.embed_documents(TEXTS)
        twin = copy.deepcopy(embedder)

        assert self.same(twin.embed_documents(TEXTS), expected)
        twin.close()


class RerankerContract(_ModelContract, ABC):
    """The tests that every reranker passes. Subclass it and implement `make_reranker`."""

    @abstractmethod
    def make_reranker(self, **settings: Any) -> Qwen3Reranker:
        """Make a new reranker with these arguments."""

    @pytest.fixture
    def reranker(self) -> Iterator[Qwen3Reranker]:
        with self.make_reranker() as reranker:
            yield reranker

    def test_ranking_is_best_first_and_keeps_the_indices(self, reranker: Qwen3Reranker) -> None:
        ranked = reranker.rank("what is the capital", TEXTS)

        assert sorted(hit.index for hit in ranked) == list(range(len(TEXTS)))
        assert [hit.score for hit in ranked] == sorted((h.score for h in ranked), reverse=True)
        assert all(hit.document is TEXTS[hit.index] for hit in ranked)

    def test_score_is_the_sigmoid_of_the_logit(self, reranker: Qwen3Reranker) -> None:
        for hit in reranker.rank("what", TEXTS):
            assert type(hit.score) is float
            assert hit.score == pytest.approx(1 / (1 + np.exp(-hit.logit)), abs=1e-6)

    def test_scores_do_not_depend_on_the_other_documents(self, reranker: Qwen3Reranker) -> None:
        together = {hit.index: hit.logit for hit in reranker.rank("what", TEXTS)}

        for index, text in enumerate(TEXTS):
            [alone] = reranker.rank("what", [text])
            assert self.same(alone.logit, together[index])

    def test_ties_keep_the_order_given(self, reranker: Qwen3Reranker) -> None:
        ranked = reranker.rank("what", ["same text"] * 5)

        assert [hit.index for hit in ranked] == list(range(5)) or not self.same(
            ranked[0].logit, ranked[-1].logit
        )

    def test_top_k_keeps_the_best(self, reranker: Qwen3Reranker) -> None:
        all_of_them = reranker.rank("what", TEXTS)

        best = reranker.rank("what", TEXTS, top_k=2)

        assert [hit.index for hit in best] == [hit.index for hit in all_of_them[:2]]
        with pytest.raises(InputError, match="`top_k` must be at least 1"):
            reranker.rank("what", TEXTS, top_k=0)

    def test_no_documents_give_no_ranking(self, reranker: Qwen3Reranker) -> None:
        assert reranker.rank("what", []) == []
        assert reranker.rank_many(["what"], [[]]) == [[]]
        assert reranker.score([]) == []

    def test_rank_many_and_score_agree_with_rank(self, reranker: Qwen3Reranker) -> None:
        queries = ["what", "where is it"]
        documents = [TEXTS[:4], TEXTS[4:]]

        many = reranker.rank_many(queries, documents)
        pairs = [(query, text) for query, d in zip(queries, documents, strict=True) for text in d]
        scores = iter(reranker.score(pairs))

        for query, texts, ranked in zip(queries, documents, many, strict=True):
            alone = {hit.index: hit.logit for hit in reranker.rank(query, texts)}
            assert {h.index for h in ranked} == set(alone)
            assert all(self.same(hit.logit, alone[hit.index]) for hit in ranked)
            by_index = {hit.index: hit.score for hit in ranked}
            assert all(self.same(next(scores), by_index[i]) for i in range(len(texts)))

    def test_instruction_per_call_and_per_query(self, reranker: Qwen3Reranker) -> None:
        pairs = [("what", "this")] * 2

        text, code = reranker.score(pairs, instruction=["Find text", "Find code"])

        assert not self.same(text, code)
        assert self.same(reranker.score(pairs[:1], instruction="Find code"), [code])

    def test_async_equals_sync(self, reranker: Qwen3Reranker) -> None:
        ranked = asyncio.run(reranker.arank("what", TEXTS))
        [many] = asyncio.run(reranker.arank_many(["what"], [TEXTS]))
        scores = asyncio.run(reranker.ascore([("what", text) for text in TEXTS]))

        expected = {hit.index: hit.score for hit in reranker.rank("what", TEXTS)}
        for hit in [*ranked, *many]:
            assert self.same(hit.score, expected[hit.index])
        assert self.same(scores, [expected[i] for i in range(len(TEXTS))])

    def test_blank_query_is_an_error(self, reranker: Qwen3Reranker) -> None:
        with pytest.raises(InputError, match="empty or only white space"):
            reranker.rank("  ", TEXTS)

    def test_event_loop_keeps_ticking(self, reranker: Qwen3Reranker) -> None:
        reranker.warm_up()

        asyncio.run(keeps_ticking(reranker.arank("what", TEXTS * 20)))

    def test_copies_work(self, reranker: Qwen3Reranker) -> None:
        expected = reranker.score([("what", text) for text in TEXTS])
        twin = copy.deepcopy(reranker)

        assert self.same(twin.score([("what", text) for text in TEXTS]), expected)
        twin.close()
