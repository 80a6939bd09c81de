"""Reranking through LangChain: the core's scores on copies of the documents."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import (
    CrossEncoderReranker,
    DocumentCompressorPipeline,
)
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import CharacterTextSplitter

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Rerank
from qwen3_rag import InputError, InputTypeError, ModelError, Qwen3Reranker
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import keeps_ticking

QUERY = "where is\nthe 首都?"


def scores(documents: Sequence[Document]) -> list[float]:
    return [document.metadata["relevance_score"] for document in documents]


def contents(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """All there is to documents: their equality leaves scores out."""
    return [document.model_dump() for document in documents]


def test_order_and_scores_are_the_cores_to_the_bit(
    reranker: Qwen3Reranker, rerank: Qwen3Rerank, documents: list[Document]
) -> None:
    ranked = reranker.rank(QUERY, [document.page_content for document in documents])

    result = rerank.compress_documents(documents, QUERY)

    assert [document.id for document in result] == [f"id-{item.index}" for item in ranked]
    assert scores(result) == [item.score for item in ranked]
    assert scores(result) == sorted(scores(result), reverse=True)
    assert {type(score) for score in scores(result)} == {float}
    assert all(0 <= score <= 1 for score in scores(result))


def test_scores_of_the_trained_model_are_the_cores(tiny_rerank: Qwen3Rerank) -> None:
    pairs = [(QUERY, text) for text in TEXTS]

    with Qwen3Reranker("tiny") as reranker:
        assert tiny_rerank.score(pairs) == pytest.approx(reranker.score(pairs), abs=1e-5)


def test_documents_are_copied_with_everything_they_have(
    rerank: Qwen3Rerank, documents: list[Document]
) -> None:
    before = copy.deepcopy(documents)

    result = rerank.compress_documents(documents, QUERY)

    assert documents == before
    for document in result:
        original = next(one for one in documents if one.id == document.id)
        assert document is not original
        assert document.page_content == original.page_content
        assert document.metadata == {
            **original.metadata,
            "relevance_score": document.metadata["relevance_score"],
        }


def test_a_document_of_another_class_stays_one(rerank: Qwen3Rerank) -> None:
    class Page(Document):
        number: int

    [page] = rerank.compress_documents([Page(page_content="a", number=7)], QUERY)

    assert isinstance(page, Page)
    assert page.number == 7


def test_ties_keep_the_order_given(rerank: Qwen3Rerank) -> None:
    documents = [Document(page_content="the same", id=str(index)) for index in range(6)]

    result = rerank.compress_documents(documents, QUERY)

    assert [document.id for document in result] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("score_type", ["probability", "logit"])
async def test_documents_below_a_score_are_left_out(
    reranker: Qwen3Reranker, documents: list[Document], score_type: Literal["probability", "logit"]
) -> None:
    everything = Qwen3Rerank.from_reranker(reranker, score_type=score_type).compress_documents(
        documents, QUERY
    )
    least = everything[1].metadata["relevance_score"]
    rerank = Qwen3Rerank.from_reranker(reranker, score_type=score_type, min_score=least)

    assert contents(rerank.compress_documents(documents, QUERY)) == contents(everything[:2])
    assert await rerank.acompress_documents(documents, QUERY, top_n=1) == everything[:1]
    with pytest.raises(InputError, match="`min_score` must be a number or None, got nan"):
        Qwen3Rerank(min_score=math.nan)


def test_top_n_of_the_call_goes_before_the_fields(
    reranker: Qwen3Reranker, documents: list[Document]
) -> None:
    rerank = Qwen3Rerank.from_reranker(reranker, top_n=2)
    everything = Qwen3Rerank.from_reranker(reranker).compress_documents(documents, QUERY)

    for top_n, count in ((None, 2), (3, 3), (50, len(everything))):
        best = rerank.compress_documents(documents, QUERY, top_n=top_n)
        assert contents(best) == contents(everything[:count])
    with pytest.raises(InputError, match="`top_n` must be at least 1, got 0"):
        rerank.compress_documents(documents, QUERY, top_n=0)


def test_the_instruction_counts_and_that_of_the_call_goes_first(documents: list[Document]) -> None:
    def make(instruction: str) -> Qwen3Rerank:
        return Qwen3Rerank(
            model="test/reranker", instruction=instruction, backend=DeterministicBackend()
        )

    text, code = make("Find text"), make("Find code")

    assert scores(text.compress_documents(documents, QUERY)) != scores(
        code.compress_documents(documents, QUERY)
    )
    assert contents(text.compress_documents(documents, QUERY, instruction="Find code")) == contents(
        code.compress_documents(documents, QUERY)
    )
    assert text.score([(QUERY, "a")]) != code.score([(QUERY, "a")])


def test_logits_are_to_be_had(reranker: Qwen3Reranker, documents: list[Document]) -> None:
    ranked = reranker.rank(QUERY, [document.page_content for document in documents])
    rerank = Qwen3Rerank.from_reranker(reranker, score_type="logit")

    assert scores(rerank.compress_documents(documents, QUERY)) == [item.logit for item in ranked]
    pairs = [(QUERY, text) for text in TEXTS]
    assert rerank.score(pairs) == list(reranker.score(pairs, details=True).logits)


def test_pairs_are_scored_in_the_order_given(reranker: Qwen3Reranker, rerank: Qwen3Rerank) -> None:
    pairs = [(f"query {index}", text) for index, text in enumerate(TEXTS)]

    assert rerank.score(pairs) == reranker.score(pairs)


async def test_async_and_one_by_one_equal_sync(
    rerank: Qwen3Rerank, documents: list[Document]
) -> None:
    pairs = [(QUERY, text) for text in TEXTS]
    alone = [rerank.compress_documents([document], QUERY)[0] for document in documents]

    result = await rerank.acompress_documents(documents, QUERY)
    best, judged = await asyncio.gather(
        rerank.acompress_documents(documents, QUERY, top_n=1), rerank.ascore(pairs)
    )

    assert contents(result) == contents(rerank.compress_documents(documents, QUERY))
    assert sorted(scores(alone), reverse=True) == scores(result)
    assert contents(best) == contents(result[:1])
    assert judged == rerank.score(pairs)


async def test_the_event_loop_keeps_ticking(slow_rerank: Qwen3Rerank) -> None:
    documents = [Document(page_content=text) for text in TEXTS * 50]

    ranked = await keeps_ticking(slow_rerank.acompress_documents(documents, QUERY))
    judged = await keeps_ticking(slow_rerank.ascore([(QUERY, "a")]))

    assert len(ranked) == len(documents)
    assert judged == slow_rerank.score([(QUERY, "a")])


async def test_nothing_in_nothing_out_and_no_model_opened() -> None:
    rerank = Qwen3Rerank(model="no/such-model", local_files_only=True)

    assert rerank.compress_documents([], QUERY) == []
    assert await rerank.acompress_documents([], QUERY) == []
    assert rerank.score([]) == []
    assert await rerank.ascore([]) == []
    with pytest.raises(ModelError, match="no/such-model"):
        rerank.score([("a", "b")])


def test_bad_input_is_the_cores_own_error(rerank: Qwen3Rerank, documents: list[Document]) -> None:
    with pytest.raises(InputError, match="empty or only white space"):
        rerank.compress_documents(documents, " ")
    with pytest.raises(InputTypeError, match=r"`pairs\[0\]` must be a \(query, document\) pair"):
        rerank.score(["ab"])  # type: ignore[list-item]  # the mistake


def test_it_is_both_of_what_langchain_knows(rerank: Qwen3Rerank) -> None:
    assert isinstance(rerank, BaseDocumentCompressor)
    assert isinstance(rerank, BaseCrossEncoder)


async def test_contextual_compression_retriever_takes_it(
    text_embeddings: Qwen3Embeddings, text_rerank: Qwen3Rerank
) -> None:
    store = InMemoryVectorStore.from_texts(
        ["the disk is full", "the capital of France is Paris", "rain"], text_embeddings
    )
    retriever = ContextualCompressionRetriever(
        base_compressor=text_rerank, base_retriever=store.as_retriever()
    )

    result = retriever.invoke("capital of France")

    assert result[0].page_content == "the capital of France is Paris"
    assert len(result) == 3
    assert scores(result) == sorted(scores(result), reverse=True)
    assert all(document.id for document in result)
    assert contents(await retriever.ainvoke("capital of France")) == contents(result)


def test_cross_encoder_reranker_takes_it(rerank: Qwen3Rerank, documents: list[Document]) -> None:
    compressor = CrossEncoderReranker(model=rerank, top_n=2)

    result = compressor.compress_documents(documents, QUERY)

    best = rerank.compress_documents(documents, QUERY)[:2]
    assert [document.id for document in result] == [document.id for document in best]


async def test_document_compressor_pipeline_takes_it(text_rerank: Qwen3Rerank) -> None:
    splitter = CharacterTextSplitter(chunk_size=40, chunk_overlap=0, separator=". ")
    pipeline = DocumentCompressorPipeline(transformers=[splitter, text_rerank])
    long = Document(
        page_content="Rain falls in spring and in autumn. Paris is the capital of France. "
        "Fish swim in the sea"
    )

    result = pipeline.compress_documents([long], "capital of France")

    assert result[0].page_content == "Paris is the capital of France"
    assert len(result) > 1
    again = await pipeline.acompress_documents([long], "capital of France")
    assert contents(again) == contents(result)
