"""What every backend and every door has to do, as test classes to inherit.

    class TestMyBackend(BackendContract):
        def make_backend(self, role): return MyBackend(role)

Knows the seam and the doors; knows no framework.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from qwen3_rag import (
    BackendError,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
)
from qwen3_rag.backends.base import WHOLE, Backend, Limits
from qwen3_rag.models import Role
from qwen3_rag.prompts import EmbedPrompt, Prompt, RerankPrompt

__all__ = ["TEXTS", "BackendContract", "EmbedderContract", "RerankerContract"]

#: Texts that have broken something somewhere: scripts, white space, control words, NUL.
TEXTS = [
    "Paris is the capital of France.",
    "def f(x):\n\treturn x  # tabs and\n\n newlines",
    "북한산은 서울의 산이다.",
    "数据存储在哪里？",
    "مرحبا بالعالم",
    "a <|im_end|> in the text, </think> too",
    "emoji 👩‍👩‍👧 and NUL \0 inside",
    " leading and trailing ",
    "",
]


def prompts_for(role: Role, texts: list[str] | None = None) -> list[Prompt]:
    """Make prompts of a role from texts."""
    texts = TEXTS if texts is None else texts
    if role == "embedding":
        return [EmbedPrompt(text) for text in texts]
    return [RerankPrompt("what is the capital", text) for text in texts]


class BackendContract:
    """A backend's promises. Inherit and give `make_backend`."""

    #: How far two computations of one prompt may differ, relative to the size of the values.
    tolerance = 0.0

    def make_backend(self, role: Role) -> Backend:
        """Make a new, unopened backend."""
        raise NotImplementedError

    @pytest.fixture(params=["embedding", "reranking"])
    def role(self, request: pytest.FixtureRequest) -> Role:
        role: Role = request.param
        return role

    @pytest.fixture
    def backend(self, role: Role) -> Iterator[Backend]:
        backend = self.make_backend(role)
        yield backend
        backend.close()

    def assert_same(self, left: object, right: object) -> None:
        """Compare values within the backend's tolerance."""
        np.testing.assert_allclose(np.asarray(left), np.asarray(right), rtol=0, atol=self.tolerance)

    def test_satisfies_the_protocol(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)

    def test_open_tells_its_role_and_a_fingerprint(self, backend: Backend, role: Role) -> None:
        capabilities = backend.open().result(60)

        assert capabilities.role == role
        assert capabilities.fingerprint
        assert (capabilities.dim > 0) == (role == "embedding")

    def test_results_come_in_the_order_of_the_prompts(self, backend: Backend, role: Role) -> None:
        prompts = prompts_for(role)

        together = backend.run(prompts, Limits()).result(60)
        alone = [backend.run([prompt], Limits()).result(60) for prompt in prompts]

        self.assert_same(together.values, np.concatenate([one.values for one in alone]))

    def test_values_are_float32_and_shaped(self, backend: Backend, role: Role) -> None:
        output = backend.run(prompts_for(role), Limits()).result(60)

        dim = backend.open().result(60).dim
        assert output.values.dtype == np.float32
        assert output.values.shape == ((len(TEXTS), dim) if dim else (len(TEXTS),))
        assert output.cut_at.shape == (len(TEXTS),)
        assert output.cut_at.tolist() == [WHOLE] * len(TEXTS)

    def test_no_prompts_give_no_rows(self, backend: Backend) -> None:
        output = backend.run([], Limits()).result(60)

        assert len(output.values) == 0
        assert len(output.cut_at) == 0

    def test_counts_tokens_where_it_says_so(self, backend: Backend, role: Role) -> None:
        output = backend.run(prompts_for(role), Limits()).result(60)

        assert (output.tokens is not None) == backend.open().result(60).counts_tokens

    def test_every_character_matters(self, backend: Backend, role: Role) -> None:
        texts = ["a\nb", "a b", "a  b", "a\tb", "A b"]

        values = backend.run(prompts_for(role, texts), Limits()).result(60).values

        rows = values.reshape(len(texts), -1)
        for i in range(len(texts)):
            for j in range(i):
                assert np.abs(rows[i] - rows[j]).max() > 1e-4, (texts[i], texts[j])

    def test_the_instruction_matters(self, backend: Backend, role: Role) -> None:
        def prompt(instruction: str) -> Prompt:
            if role == "embedding":
                return EmbedPrompt("what", instruction)
            return RerankPrompt("what", "this", instruction)

        values = backend.run([prompt("Find code"), prompt("Find law")], Limits()).result(60).values

        assert np.abs(values[0] - values[1]).max() > 1e-5

    def test_reports_every_prompt_as_done(self, backend: Backend, role: Role) -> None:
        done: list[int] = []

        backend.run(prompts_for(role), Limits(), done.append).result(60)

        assert sum(done) == len(TEXTS)

    def test_many_threads_get_their_own_results(self, backend: Backend, role: Role) -> None:
        prompts = prompts_for(role)
        alone = [backend.run([prompt], Limits()).result(60).values[0] for prompt in prompts]

        def call(number: int) -> None:
            place = number % len(prompts)
            output = backend.run([prompts[place]], Limits()).result(60)
            self.assert_same(output.values[0], alone[place])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(80)))

    def test_a_closed_backend_says_so(self, backend: Backend, role: Role) -> None:
        backend.open().result(60)
        backend.close()
        backend.close()

        with pytest.raises(BackendError, match="closed"):
            backend.run(prompts_for(role), Limits()).result(60)

    def test_a_pickled_backend_works_and_holds_no_weights(
        self, backend: Backend, role: Role
    ) -> None:
        expected = backend.run(prompts_for(role), Limits()).result(60).values

        data = pickle.dumps(backend)
        other = pickle.loads(data)

        assert len(data) < 20_000
        self.assert_same(other.run(prompts_for(role), Limits()).result(60).values, expected)
        other.close()


class _DoorContract:
    """What both doors promise."""

    tolerance = 0.0

    def same(self, left: object, right: object) -> bool:
        """Compare numbers within the door's tolerance."""
        return bool(np.allclose(np.asarray(left), np.asarray(right), rtol=0, atol=self.tolerance))


class EmbedderContract(_DoorContract):
    """An embedder's promises. Inherit and give `make_embedder`."""

    def make_embedder(self, **settings: Any) -> Qwen3Embedder:
        """Make a new embedder with some of the door's settings."""
        raise NotImplementedError

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

    def test_short_vectors_are_the_normalised_beginning(self, embedder: Qwen3Embedder) -> None:
        full = embedder.embed_documents(TEXTS)
        with self.make_embedder(dim=32) as small:
            short = small.embed_documents(TEXTS)

        beginning = full[:, :32]
        np.testing.assert_allclose(
            short, beginning / np.linalg.norm(beginning, axis=1, keepdims=True), atol=1e-5
        )

    def test_dim_beyond_the_model_is_refused(self) -> None:
        with (
            self.make_embedder(dim=30_000) as embedder,
            pytest.raises(InputError, match="`dim` must be from 32"),
        ):
            embedder.embed_documents(["a"])

    def test_async_equals_sync(self, embedder: Qwen3Embedder) -> None:
        async def both() -> tuple[object, object]:
            return await asyncio.gather(
                embedder.aembed_documents(TEXTS), embedder.aembed_queries(["a"])
            )

        documents, queries = asyncio.run(both())

        assert self.same(documents, embedder.embed_documents(TEXTS))
        assert self.same(queries, embedder.embed_queries(["a"]))

    def test_a_string_instead_of_a_list_is_refused(self, embedder: Qwen3Embedder) -> None:
        with pytest.raises(InputTypeError, match="Put it in a list"):
            embedder.embed_documents("a string")

    def test_blank_query_is_refused_and_names_its_place(self, embedder: Qwen3Embedder) -> None:
        with pytest.raises(InputError, match=r"queries\[1\]"):
            embedder.embed_queries(["fine", " \n"])

    def test_inputs_are_not_changed(self, embedder: Qwen3Embedder) -> None:
        texts = list(TEXTS)

        embedder.embed_documents(texts)

        assert texts == TEXTS

    def test_event_loop_keeps_ticking(self, embedder: Qwen3Embedder) -> None:
        embedder.warm_up()

        assert ticks_during(embedder.aembed_documents(TEXTS * 20)) > 0

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


class RerankerContract(_DoorContract):
    """A reranker's promises. Inherit and give `make_reranker`."""

    def make_reranker(self, **settings: Any) -> Qwen3Reranker:
        """Make a new reranker with some of the door's settings."""
        raise NotImplementedError

    @pytest.fixture
    def reranker(self) -> Iterator[Qwen3Reranker]:
        with self.make_reranker() as reranker:
            yield reranker

    def test_best_first_and_indices_point_back(self, reranker: Qwen3Reranker) -> None:
        ranked = reranker.rank("what is the capital", TEXTS)

        assert sorted(hit.index for hit in ranked) == list(range(len(TEXTS)))
        assert [hit.score for hit in ranked] == sorted((h.score for h in ranked), reverse=True)
        assert all(hit.document is TEXTS[hit.index] for hit in ranked)

    def test_score_is_the_probability_of_the_logit(self, reranker: Qwen3Reranker) -> None:
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

    def test_blank_query_is_refused(self, reranker: Qwen3Reranker) -> None:
        with pytest.raises(InputError, match="empty or only white space"):
            reranker.rank("  ", TEXTS)

    def test_event_loop_keeps_ticking(self, reranker: Qwen3Reranker) -> None:
        reranker.warm_up()

        assert ticks_during(reranker.arank("what", TEXTS * 20)) > 0

    def test_copies_work(self, reranker: Qwen3Reranker) -> None:
        expected = reranker.score([("what", text) for text in TEXTS])
        twin = copy.deepcopy(reranker)

        assert self.same(twin.score([("what", text) for text in TEXTS]), expected)
        twin.close()


def ticks_during(work: Coroutine[Any, Any, object]) -> int:
    """Run a coroutine beside a ticking task; return how often the loop came round meanwhile."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async def both() -> int:
        ticking = asyncio.create_task(tick())
        await work
        seen = ticks
        ticking.cancel()
        return seen

    return asyncio.run(both())
