"""Whatever callers give ends in a result or a typed error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen3_rag import InputError, InputTypeError, Qwen3Embedder, Qwen3RagError, Qwen3Reranker
from qwen3_rag.backends import Role
from qwen3_rag_testkit.backends import DeterministicBackend, RunningDeterministic


@pytest.mark.parametrize(
    ("dim", "model"),
    [
        (0, "folder"),
        (-1, "folder"),
        (16, "Qwen/Qwen3-Embedding-0.6B"),
        (2048, "Qwen/Qwen3-Embedding-0.6B"),
    ],
)
def test_dim_out_of_range_is_refused_before_loading(dim: int, model: str) -> None:
    with pytest.raises(InputError, match="`dim` must be"):
        Qwen3Embedder(model, dim=dim)


@pytest.mark.parametrize("dim", [1, 31, 65, 1024])
def test_dim_out_of_a_folders_range_is_refused_before_computing(
    embedding_folder: Path, dim: int
) -> None:
    with Qwen3Embedder(str(embedding_folder), dim=dim) as embedder:
        for _ in range(2):  # the second call finds the model open
            with pytest.raises(InputError, match=f"`dim` must be from 32 to 64 for .*, got {dim}"):
                embedder.embed_documents(["a"])


@pytest.mark.parametrize("value", [63, 32_769, 0, -5])
def test_max_length_out_of_range(value: int) -> None:
    for kind in (Qwen3Embedder, Qwen3Reranker):
        with pytest.raises(InputError, match="`max_length` must be from 64 to 32768"):
            kind(max_length=value)


@pytest.mark.parametrize("value", ["512", 1.5, True])
def test_numbers_of_the_wrong_type(value: Any) -> None:
    with pytest.raises(InputTypeError, match="`dim` must be a whole number"):
        Qwen3Embedder("folder", dim=value)


@pytest.mark.parametrize("model", [None, 3, "", " ", b"x"])
def test_something_else_than_a_model(model: Any) -> None:
    for kind in (Qwen3Embedder, Qwen3Reranker):
        with pytest.raises(InputTypeError, match="`model` must be the name or folder"):
            kind(model)


def test_addresses_as_model_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="address") as refused:
        Qwen3Embedder("https://me:hidden@host/model")

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("device", [0, [], ["cpu", 1], ""])
def test_something_else_than_a_device(device: Any) -> None:
    with pytest.raises(InputTypeError, match="`device` must be a torch device"):
        Qwen3Embedder("folder", device=device)


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    assert Qwen3Embedder("folder", dim=np.int64(64)).dim == 64  # type: ignore[arg-type]  # duck


@pytest.mark.parametrize("batch_tokens", ["512", -1, 0])
def test_batch_tokens_are_checked_for_a_callers_model_too(batch_tokens: Any) -> None:
    with pytest.raises(InputError, match="`batch_tokens` must be"):
        Qwen3Embedder.from_model(None, None, batch_tokens=batch_tokens)


def test_budgets_reach_the_model_and_cuts_the_caller(reranking_folder: Path) -> None:
    with Qwen3Reranker(
        str(reranking_folder), max_query_tokens=8, max_document_tokens=10
    ) as reranker:
        [hit] = reranker.rank("x" * 30, ["y" * 30])
        details = reranker.score([("x" * 30, "y" * 30)], details=True)

    assert (hit.query_cut_at, hit.cut_at) == (8, 9)
    assert (details.query_cut_at, details.cut_at) == ((8,), (9,))


def test_progress_reaches_the_backend() -> None:
    given: list[bool] = []

    class Running(RunningDeterministic):
        def run(self, prompts: Any, limits: Any, on_done: Any = None) -> Any:
            given.append(on_done is not None)
            return super().run(prompts, limits, on_done)

    class Watched(DeterministicBackend):
        def start(self, model: str, role: Role) -> Running:
            return Running(role, self.dim)

    with Qwen3Embedder("any", backend=Watched()) as embedder:
        embedder.embed_documents(["a"], progress=True)
        embedder.embed_documents(["a"])
    with Qwen3Reranker("any", backend=Watched()) as reranker:
        reranker.rank("q", ["a"], progress=True)
    assert given == [True, False, True]


@pytest.mark.parametrize(
    "query", ["", "  ", "\n\t", "\u3000", "\u200b", "\ufeff", " \u2060\xad\u200e\n"]
)
def test_blank_queries(embedder: Qwen3Embedder, reranker: Qwen3Reranker, query: str) -> None:
    with pytest.raises(InputError, match=r"`queries\[0\]` is empty"):
        embedder.embed_queries([query])
    with pytest.raises(InputError, match="`query` is empty"):
        reranker.rank(query, ["a"])
    with pytest.raises(InputError, match=r"`pairs\[0\]\[0\]` is empty"):
        reranker.score([(query, "a")])


@pytest.mark.parametrize("query", ["\u200ba", "?", "\U0001fae9", "\u0301", "\u2800"])
def test_queries_that_show_something(embedder: Qwen3Embedder, query: str) -> None:
    assert len(embedder.embed_queries([query])) == 1


@pytest.mark.parametrize("item", [None, 3, b"bytes", ["nested"], float("nan")])
def test_items_that_are_no_strings(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker, item: Any
) -> None:
    with pytest.raises(InputTypeError, match=r"`documents\[1\]` must be a string"):
        embedder.embed_documents(["fine", item])
    with pytest.raises(InputTypeError, match=r"`documents\[1\]` must be a string"):
        reranker.rank("q", ["fine", item])


@pytest.mark.parametrize("texts", ["text", b"text", {"a": 1}, 3, None])
def test_something_else_than_a_list(embedder: Qwen3Embedder, texts: Any) -> None:
    with pytest.raises(InputTypeError, match="`documents` must be a list of strings"):
        embedder.embed_documents(texts)


@pytest.mark.parametrize("pair", ["ab", ("q",), ("q", "d", "x"), None])
def test_something_else_than_a_pair(reranker: Qwen3Reranker, pair: Any) -> None:
    with pytest.raises(InputTypeError, match=r"`pairs\[0\]` must be a \(query, document\) pair"):
        reranker.score([pair])


def test_lone_surrogates_are_named(embedder: Qwen3Embedder, reranker: Qwen3Reranker) -> None:
    with pytest.raises(InputError, match=r"`documents\[0\]` has a lone surrogate .* character 2"):
        embedder.embed_documents(["ab\ud800"])
    with pytest.raises(InputError, match="lone surrogate"):
        reranker.rank("q\udfff", ["a"])
    with pytest.raises(InputError, match="lone surrogate"):
        Qwen3Embedder(instruction="x\ud800")


def test_instructions_that_do_not_fit_the_queries(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    with pytest.raises(InputError, match="`instruction` has 1 items for 2 queries"):
        embedder.embed_queries(["a", "b"], instruction=["Find it"])
    with pytest.raises(InputError, match="`instruction` is empty"):
        embedder.embed_queries(["a"], instruction=" ")
    with pytest.raises(InputError, match="`instruction` is empty"):
        reranker.rank("a", ["b"], instruction="")
    with pytest.raises(InputError, match="1 lists for 2 queries"):
        reranker.rank_many(["a", "b"], [["c"]])


def test_an_empty_document_never_kills_a_bulk_job(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    embedded = embedder.embed_documents(["a", "", " ", "b"], details=True)
    ranked = reranker.rank("q", ["a", "", " ", "b"])

    assert embedded.tokens == (2, 1, 2, 2)
    assert np.isfinite(embedded.vectors).all()
    assert len(ranked) == 4


def test_huge_documents_and_nul_bytes_are_cut_and_reported(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> None:
    huge = "word " * 1_000_000

    embedded = embedder.embed_documents(["\0a\0", huge], details=True)
    huge_hit, nul = sorted(reranker.rank("q", [huge, "\0" * 50]), key=lambda hit: hit.index)

    assert embedded.cut_at[0] is None
    assert embedded.cut_at[1] is not None
    assert 0 < embedded.cut_at[1] < 20_000
    assert embedded.tokens is not None
    assert embedded.tokens[1] == 4096  # the checkpoint's context
    assert huge_hit.cut_at is not None
    assert huge_hit.document is huge
    assert nul.cut_at is None


def test_generators_and_tuples_are_fine(embedder: Qwen3Embedder, reranker: Qwen3Reranker) -> None:
    assert embedder.embed_documents(str(i) for i in range(3)).shape == (3, 64)
    assert len(reranker.rank("q", ("a", "b"))) == 2
    assert len(reranker.score(iter([["q", "a"]]))) == 1  # type: ignore[arg-type]  # a pair as a list


anything = st.one_of(
    st.text(st.characters(), max_size=50),
    st.text(st.characters(categories=["Cs", "Cc", "Mn", "Zs"]), max_size=20),
    st.sampled_from(["", " ", "<|im_end|>", "\ud800", "\0", "😀" * 30, "a" * 5_000]),
    st.none(),
    st.integers(),
    st.floats(),
    st.binary(max_size=5),
)
lists = st.one_of(st.lists(anything, max_size=4), anything, st.dictionaries(anything, anything))


# 10,000 generated calls with a stand-in backend for breadth, then fewer with a model for depth.


@pytest.fixture(scope="module")
def fakes() -> Iterator[tuple[Qwen3Embedder, Qwen3Reranker]]:
    with (
        Qwen3Embedder("any", backend=DeterministicBackend("embedding")) as embedder,
        Qwen3Reranker("any", backend=DeterministicBackend("reranking")) as reranker,
    ):
        yield embedder, reranker


@pytest.fixture(scope="module")
def models(
    embedding_folder: Path, reranking_folder: Path
) -> Iterator[tuple[Qwen3Embedder, Qwen3Reranker]]:
    with (
        Qwen3Embedder(str(embedding_folder)) as embedder,
        Qwen3Reranker(str(reranking_folder)) as reranker,
    ):
        yield embedder, reranker


@given(texts=lists, query=anything, instruction=st.none() | lists, top_k=st.none() | anything)
@settings(max_examples=2_500, suppress_health_check=[HealthCheck.too_slow])
def test_every_generated_call_ends_in_a_result_or_a_typed_error(
    fakes: tuple[Qwen3Embedder, Qwen3Reranker], texts: Any, query: Any, instruction: Any, top_k: Any
) -> None:
    embedder, reranker = fakes
    outcomes = [
        _outcome(lambda: embedder.embed_documents(texts)),
        _outcome(lambda: embedder.embed_queries(texts, instruction=instruction)),
        _outcome(lambda: reranker.rank(query, texts, top_k=top_k, instruction=instruction)),
        _outcome(lambda: reranker.score([(query, query)], instruction=instruction)),
    ]

    assert all(outcomes)


@given(texts=st.lists(st.text(max_size=300), min_size=1, max_size=12))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_generated_text_the_model_reads_gives_numbers(
    models: tuple[Qwen3Embedder, Qwen3Reranker], texts: list[str]
) -> None:
    embedder, reranker = models

    assert np.isfinite(embedder.embed_documents(texts)).all()
    assert all(0 <= hit.score <= 1 for hit in reranker.rank("q", texts))


def _outcome(call: Callable[[], object]) -> bool:
    """Whether a call ends well; exceptions that are not the project's own are let through."""
    try:
        return call() is not None
    except Qwen3RagError as error:
        return len(str(error)) > 20
