from __future__ import annotations

from qwen3_rag._prompts import (
    DEFAULT_INSTRUCTION,
    RERANK_PREFIX,
    RERANK_SUFFIX,
    EmbedPrompt,
    RerankPrompt,
)


def test_default_instruction_is_the_model_cards() -> None:
    assert (
        DEFAULT_INSTRUCTION
        == "Given a web search query, retrieve relevant passages that answer the query"
    )


def test_query_has_no_space_after_the_colon() -> None:
    assert EmbedPrompt("C++", "Find code").rendered == "Instruct: Find code\nQuery:C++"


def test_document_is_embedded_as_it_is() -> None:
    assert EmbedPrompt(" a\nb ").rendered == " a\nb "


def test_rerank_prompt_byte_for_byte() -> None:
    prompt = RerankPrompt("q?", "d.", "Find it")

    assert prompt.rendered == (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n<Instruct>: Find it\n<Query>: q?\n<Document>: d.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_the_document_keeps_its_leading_space_to_itself() -> None:
    prompt = RerankPrompt("q?", "d.")

    assert prompt.head.endswith("<Document>:")
    assert prompt.body == " d."
    assert RERANK_PREFIX + prompt.head + prompt.body + RERANK_SUFFIX == prompt.rendered
