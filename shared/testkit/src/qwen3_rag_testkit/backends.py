"""Backends without torch, for tests of anything that uses a backend.

`DeterministicBackend` derives its numbers from a hash of the prompt: any change of text,
instruction or truncation changes the result, and equal prompts give equal bits. `CountingBackend`
is one that also notes how it is used. `TextBackend` behaves like a server that renders prompts
itself: it counts no tokens, and similar texts get similar vectors. `LookUpBackend` has vectors that
were computed before.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qwen3_rag import BackendError
from qwen3_rag.backends import (
    WHOLE,
    Backend,
    BackendSpec,
    Capabilities,
    EmbedPrompt,
    Limits,
    Output,
    Prompt,
    RerankPrompt,
    Role,
)
from qwen3_rag.integration import FloatArray

__all__ = [
    "CountingBackend",
    "DeterministicBackend",
    "LookUpBackend",
    "RunningDeterministic",
    "RunningText",
    "TextBackend",
    "Uses",
]

T = TypeVar("T")


@dataclass(frozen=True)
class DeterministicBackend(BackendSpec, kind="testkit-deterministic"):
    """Numbers from a hash of the prompt; a character counts as a token.

    Attributes:
        role: Always this role; `None` takes the role that the caller asks for.
        dim: Vector size.
    """

    role: Role | None = None
    dim: int = 64

    def start(self, model: str, role: Role) -> Backend:
        """Return the running backend."""
        return RunningDeterministic(self.role or role, self.dim)


class RunningDeterministic:
    """The running backend of a `DeterministicBackend`."""

    def __init__(self, role: Role, dim: int) -> None:
        """Set the role and the vector size."""
        self.capabilities = Capabilities(
            model=f"deterministic-{role}",
            fingerprint=f"deterministic-{role}-{dim}",
            role=role,
            dim=dim if role == "embedding" else 0,
            context=32_768,
            counts_tokens=True,
        )
        self._closed = False

    def open(self) -> Future[Capabilities]:
        """Return a completed future."""
        return self._answer(self.capabilities)

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Truncate each prompt, then hash it."""
        cuts = [_cut(prompt, limits) for prompt in prompts]
        if on_done is not None:
            on_done(len(prompts))
        values = [self._number(prompt) for prompt, _, _ in cuts]
        dim = self.capabilities.dim
        return self._answer(
            Output(
                np.asarray(values, dtype=np.float32).reshape((-1, dim) if dim else -1),
                np.asarray([len(prompt.rendered) + 1 for prompt, _, _ in cuts], dtype=np.int64),
                np.asarray([cut for _, cut, _ in cuts], dtype=np.int64),
                np.asarray([cut for _, _, cut in cuts], dtype=np.int64),
            )
        )

    def close(self) -> None:
        """Reject further calls."""
        self._closed = True

    def _number(self, prompt: Prompt) -> FloatArray:
        digest = hashlib.sha256(prompt.rendered.encode()).digest()
        random = np.random.default_rng(list(digest))
        return random.standard_normal(max(self.capabilities.dim, 1)).astype(np.float32) * 3

    def _answer(self, value: T) -> Future[T]:
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(BackendError("The deterministic backend was closed."))
        else:
            future.set_result(value)
        return future


def _cut(prompt: Prompt, limits: Limits) -> tuple[Prompt, int, int]:
    longest = limits.max_length or 8_192
    if isinstance(prompt, EmbedPrompt):
        length = longest - len(prompt.head) - 1
        if len(prompt.text) <= length:
            return prompt, WHOLE, WHOLE
        return replace(prompt, text=prompt.text[:length]), length, WHOLE
    query, document = prompt.query, prompt.document
    query_length = limits.max_query_tokens or len(query)
    length = min(longest, limits.max_document_tokens or longest)
    return (
        RerankPrompt(query[:query_length], document[:length], prompt.instruction),
        WHOLE if len(document) <= length else length,
        WHOLE if len(query) <= query_length else query_length,
    )


@dataclass
class Uses:
    """How backends were used.

    Attributes:
        starts: How many were made.
        opens: How often they were opened.
        runs: The prompts of each call of `run`, in order.
    """

    starts: int = 0
    opens: int = 0
    runs: list[list[Prompt]] = field(default_factory=list)

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of all calls, in order."""
        return [prompt for run in self.runs for prompt in run]


_uses: dict[str, Uses] = {}


@dataclass(frozen=True)
class CountingBackend(BackendSpec, kind="testkit-counting"):
    """A `DeterministicBackend` that notes how it is used, and says of itself what a test wants.

    Attributes:
        name: What the uses are noted under in this process, also those of copies.
        role: Always this role; `None` takes the role that the caller asks for.
        dim: Vector size.
        fingerprint: The model's fingerprint.
        variant: What else decides its numbers.
        context: The longest input that it claims to take.
    """

    name: str
    role: Role | None = None
    dim: int = 64
    fingerprint: str = "counting"
    variant: str | None = "float32"
    context: int = 32_768

    @property
    def uses(self) -> Uses:
        """How the backends of this name were used."""
        return _uses.setdefault(self.name, Uses())

    def start(self, model: str, role: Role) -> Backend:
        """Return the running backend."""
        return _RunningCounting(self, self.role or role)


class _RunningCounting(RunningDeterministic):
    def __init__(self, spec: CountingBackend, role: Role) -> None:
        super().__init__(role, spec.dim)
        self.capabilities = replace(
            self.capabilities,
            fingerprint=spec.fingerprint,
            variant=spec.variant,
            context=spec.context,
        )
        self._spec = spec
        spec.uses.starts += 1

    def open(self) -> Future[Capabilities]:
        self._spec.uses.opens += 1
        return super().open()

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        self._spec.uses.runs.append(list(prompts))
        return super().run(prompts, limits, on_done)


@dataclass(frozen=True, eq=False)
class LookUpBackend(BackendSpec, kind="testkit-look-up"):
    """An embedder that looks vectors up, so that its time is next to nothing.

    Attributes:
        vectors: The vectors by the text of a query or document. All have the same size.
    """

    vectors: Mapping[str, FloatArray]

    def start(self, model: str, role: Role) -> Backend:
        """Return the running backend."""
        return _RunningLookUp(self.vectors)


class _RunningLookUp(RunningDeterministic):
    def __init__(self, vectors: Mapping[str, FloatArray]) -> None:
        super().__init__("embedding", len(next(iter(vectors.values()))))
        self._vectors = vectors
        self.capabilities = replace(self.capabilities, fingerprint="look-up", counts_tokens=False)

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        texts = [prompt.text for prompt in prompts if isinstance(prompt, EmbedPrompt)]
        if on_done is not None:
            on_done(len(texts))
        whole = np.full(len(texts), WHOLE, dtype=np.int64)
        values = np.stack([self._vectors[text] for text in texts])
        return self._answer(Output(values, None, whole, whole))


@dataclass(frozen=True)
class TextBackend(BackendSpec, kind="testkit-text"):
    """A simple model based on text overlap. It computes in its own threads, like a server.

    Vectors count hashed words and character trigrams, so that texts which share them are similar.
    A document's score is its cosine with the query. That is enough to find the right document in
    the tests of a pipeline.

    Attributes:
        role: Always this role; `None` takes the role that the caller asks for.
        dim: Vector size.
    """

    role: Role | None = None
    dim: int = 256

    def start(self, model: str, role: Role) -> Backend:
        """Return the running backend."""
        return RunningText(self.role or role, self.dim)


class RunningText:
    """The running backend of a `TextBackend`."""

    def __init__(self, role: Role, dim: int) -> None:
        """Set the role and the vector size."""
        self.capabilities = Capabilities(
            model=f"text-{role}",
            fingerprint=f"text-{role}-{dim}",
            role=role,
            dim=dim if role == "embedding" else 0,
            context=32_768,
            counts_tokens=False,
        )
        self._dim = dim
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def open(self) -> Future[Capabilities]:
        """Return the capabilities from a thread."""
        return self._submit(lambda: self.capabilities)

    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        """Compute in a thread; `limits` are ignored."""
        return self._submit(lambda: self._respond(list(prompts), on_done))

    def close(self) -> None:
        """Stop the threads and cancel what has not started."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_lock": None, "_pool": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._closed:
                failed: Future[T] = Future()
                failed.set_exception(BackendError("The text backend was closed."))
                return failed
            if self._pool is None:
                self._pool = ThreadPoolExecutor(2, thread_name_prefix="text-backend")
            return self._pool.submit(work)

    def _respond(self, prompts: list[Prompt], on_done: Callable[[int], None] | None) -> Output:
        values: list[FloatArray | float] = []
        for prompt in prompts:
            if isinstance(prompt, EmbedPrompt):
                before = prompt.prefix or prompt.instruction or ""
                values.append(self._vector(prompt.text, before))
            else:
                query = self._vector(prompt.query, prompt.instruction)
                document = self._vector(prompt.document, "")
                # A small hash of the whole prompt, so that every character matters.
                noise = zlib.crc32(prompt.rendered.encode()) / 2**32
                values.append(float(query @ document) * 10 - 2 + noise / 10)
        if on_done is not None:
            on_done(len(prompts))
        whole = np.full(len(prompts), WHOLE, dtype=np.int64)
        shape = (-1, self._dim) if self.capabilities.dim else (-1,)
        return Output(np.asarray(values, dtype=np.float32).reshape(shape), None, whole, whole)

    def _vector(self, text: str, instruction: str) -> FloatArray:
        counts: NDArray[np.float32] = np.zeros(self._dim, dtype=np.float32)
        words = text.lower().split()
        for word in words:
            counts[zlib.crc32(word.encode()) % self._dim] += 1
        folded = text.lower()
        for start in range(len(folded) - 2):
            counts[zlib.crc32(folded[start : start + 3].encode()) % self._dim] += 0.3
        # Small hashes of the instruction and of the exact bytes, so that both matter.
        counts[zlib.crc32(instruction.encode()) % self._dim] += 0.1
        counts[zlib.crc32(text.encode()) % self._dim] += 0.1
        return counts / np.linalg.norm(counts)
