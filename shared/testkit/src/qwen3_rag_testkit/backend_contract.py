"""The contract of a backend, and the texts that all contracts use."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qwen3_rag import BackendError
from qwen3_rag.backends import WHOLE, Backend, EmbedPrompt, Limits, Prompt, RerankPrompt, Role

__all__ = ["TEXTS", "BackendContract"]

#: Texts that are easy to get wrong: other scripts, white space, control tokens, NUL.
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
    """Make a prompt of the role's type from each text."""
    texts = TEXTS if texts is None else texts
    if role == "embedding":
        return [EmbedPrompt(text) for text in texts]
    return [RerankPrompt("what is the capital", text) for text in texts]


class BackendContract(ABC):
    """The tests that every backend passes. Subclass it and implement `make_backend`."""

    #: Largest allowed difference between two computations of the same prompt.
    tolerance = 0.0

    @abstractmethod
    def make_backend(self, role: Role) -> Backend:
        """Make a new backend, not yet opened."""

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

    def test_open_returns_role_and_fingerprint(self, backend: Backend, role: Role) -> None:
        capabilities = backend.open().result(60)

        assert capabilities.role == role
        assert capabilities.fingerprint
        assert (capabilities.dim > 0) == (role == "embedding")

    def test_results_are_in_the_order_of_the_prompts(self, backend: Backend, role: Role) -> None:
        prompts = prompts_for(role)

        together = backend.run(prompts, Limits()).result(60)
        alone = [backend.run([prompt], Limits()).result(60) for prompt in prompts]

        self.assert_same(together.values, np.concatenate([one.values for one in alone]))

    def test_equal_prompts_of_a_call_give_equal_bits(self, backend: Backend, role: Role) -> None:
        """In any batch; otherwise, equal documents could change their order."""
        equal = prompts_for(role, ["Rain is expected on Sunday."])
        prompts: list[Prompt] = []
        for number in range(100):
            words = "word " * (7 * number % 60)
            prompts += [*equal * (number % 3), *prompts_for(role, [f"{number} {words}"])]

        output = backend.run(prompts, Limits()).result(120)

        indices = [index for index, prompt in enumerate(prompts) if prompt == equal[0]]
        assert len(indices) == 99
        assert len({output.values[index].tobytes() for index in indices}) == 1
        if output.tokens is not None:
            assert len({output.tokens[index] for index in indices}) == 1

    def test_values_are_float32_of_the_right_shape(self, backend: Backend, role: Role) -> None:
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

    def test_tokens_are_counted_as_declared(self, backend: Backend, role: Role) -> None:
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

    def test_a_prefix_replaces_the_text_before_queries_and_documents(self) -> None:
        backend = self.make_backend("embedding")
        queries = [EmbedPrompt("what", "Find", prefix) for prefix in (None, "query: ", "q: ")]
        documents = [EmbedPrompt("what", None, prefix) for prefix in (None, "- ", "* ")]

        rows = backend.run([*queries, *documents], Limits()).result(60).values

        backend.close()
        for i in range(len(rows)):
            for j in range(i):
                assert np.abs(rows[i] - rows[j]).max() > 1e-5

    def test_progress_counts_every_prompt(self, backend: Backend, role: Role) -> None:
        done: list[int] = []

        backend.run(prompts_for(role), Limits(), done.append).result(60)

        assert sum(done) == len(TEXTS)

    def test_concurrent_threads_get_their_own_results(self, backend: Backend, role: Role) -> None:
        prompts = prompts_for(role)
        alone = [backend.run([prompt], Limits()).result(60).values[0] for prompt in prompts]

        def call(number: int) -> None:
            index = number % len(prompts)
            output = backend.run([prompts[index]], Limits()).result(60)
            self.assert_same(output.values[0], alone[index])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(80)))

    def test_a_closed_backend_raises(self, backend: Backend, role: Role) -> None:
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
