"""`Api`, the base class of what a server speaks, and how answers are read."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from qwen3_rag._prompts import Prompt, RerankPrompt
from qwen3_rag._published import Role
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Capabilities, Limits, Output
from qwen3_rag.backends._checkpoint.description import Description
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.http import BrokenAnswer, Http
from qwen3_rag.errors import BackendError, InputError

__all__ = [
    *("Answer", "Api", "log_odds"),
    *("read_count", "read_indexed", "read_numbers", "read_rows", "read_scores", "read_vectors"),
]

T = TypeVar("T")

#: Bytes that a number of a vector may have, indented; `-1.2345678901234567e-05,` has 24.
NUMBER = 64
#: Bytes that a result may have beside its vector or text.
RESULT = 4_096
#: Numbers that a vector may have where the model's size is not known.
UNKNOWN_SIZE = 8_192


@dataclass(frozen=True, eq=False)
class Answer:
    """What a server computed for the prompts of one request.

    Attributes:
        values: Vectors `[prompts, dim]`, or log-odds `[prompts]`.
        tokens: Tokens that the server says it read, for the whole request; `None` if unknown.
        details: What it read of each prompt, from a server that cuts prompts itself.
    """

    values: FloatArray
    tokens: int | None = None
    details: Output | None = None

    @classmethod
    def join(cls, answers: Sequence[Answer]) -> Answer:
        """Put answers one behind the other."""
        counts = [answer.tokens for answer in answers if answer.tokens is not None]
        details = [answer.details for answer in answers if answer.details is not None]
        return cls(
            np.concatenate([answer.values for answer in answers]),
            sum(counts) if len(counts) == len(answers) else None,
            _joined(details) if len(details) == len(answers) else None,
        )


class Api(ABC):
    """What one server speaks, for one model in one role.

    Attributes:
        name: Its name in `Remote`.
        tokenizer: Whether the checkpoint's tokenizer is "needed" here, "used" if it is at hand, or
            "none" is used, because the vendor's models are not published, or the server counts
            and cuts.
        takes_ids: Whether prompts are sent as token ids, so that no byte of them is the server's.
        makes_prompts: Whether an embedder's prompts are made by the server, from text, role and
            instruction.
        counts: Whether the tokens that it says it read are those of the whole prompt.
        instructions: Whether an instruction can be given with each request.
        may_ignore: Whether a server that ignores instructions is used without them; others are
            refused, because they can be started in a way that takes them.
        rows: Maximum prompts of a request.
        tokens: Maximum tokens of a request.
        whole: Tokens up to which the server surely reads a text or query, if it is not cut here.
        context: Longest input of the server; `None` if unknown.
        fingerprint: The server's own name for the model's version.
        capabilities: What a server of this project says of its model. Then it makes nothing of its
            own of a prompt, cuts prompts itself and says where, and is not probed.
    """

    name: ClassVar[str]
    tokenizer: ClassVar[str] = "needed"
    takes_ids: bool = False
    makes_prompts: ClassVar[bool] = False
    counts: ClassVar[bool] = True
    instructions: bool = True
    may_ignore: ClassVar[bool] = False
    rows: int = 64
    tokens: int = 65_536
    whole: int = 0
    context: int | None = None
    fingerprint: str | None = None
    capabilities: Capabilities | None = None
    #: What mends a server that makes another prompt of a pair.
    remedy: ClassVar[str] = (
        "Start it with the reranker's template, or with another API that takes token ids."
    )

    def __init__(
        self, http: Http, role: Role, model: str, named: bool, description: Description | None
    ) -> None:
        """Set what is known before the server is asked.

        Args:
            http: Sends requests.
            role: Whether the model embeds or reranks.
            model: The model's name on the server.
            named: Whether the caller chose that name for the server.
            description: The checkpoint's settings and tokenizer, if they are at hand.
        """
        self.http = http
        self.role = role
        self.model = model
        self.named = named
        self.description = description

    @property
    def sends_texts(self) -> bool:
        """Whether the server encodes the prompts, even if token ids are sent."""
        return not self.takes_ids or self.role == "reranking"

    @abstractmethod
    async def answers(self) -> bool:
        """Whether the server speaks this API."""

    @abstractmethod
    async def connect(self) -> None:
        """Ask the server for its model and limits.

        Raises:
            BackendError: The server has no such model, or cannot do what is needed.
        """

    def limited(self, limits: Limits) -> Api:
        """Return the API for one call, whose limits are sent if the server cuts prompts itself."""
        return self

    def group(self, prompt: Prompt) -> Hashable:
        """Return what the prompts of one request must share."""
        if isinstance(prompt, RerankPrompt):
            return (prompt.query, prompt.instruction)
        return prompt.instruction if self.makes_prompts else None

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        """Embed the prompts of one request."""
        raise BackendError(
            f"{self.http.address} ({self.name}) does not embed. Leave `api` out, or name one that "
            "does."
        )

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        """Score the prompts of one request, which share query and instruction."""
        raise BackendError(
            f"{self.http.address} ({self.name}) does not rerank. Leave `api` out, or name one that "
            "does."
        )

    async def post(self, path: str, body: Any, read: Callable[[Any], T], count: int) -> T:
        """Send a request about some prompts; see `Http.post`."""
        size = self.description.dim if self.description is not None else UNKNOWN_SIZE
        each = RESULT + (size * NUMBER if self.role == "embedding" else 0)
        return await self.http.post(path, body, read, count * each)

    def need(self) -> Description:
        """Return the checkpoint's description.

        Raises:
            InputError: It is not at hand.
        """
        if self.description is None:
            raise InputError(
                f"{self.http.address} ({self.name}) takes token ids, so the model's tokenizer is "
                "needed here. Give the checkpoint's id or folder as the model, and its name on the "
                "server in `Remote(model=...)`, which adapters call `served_model`."
            )
        return self.description

    def choose(self, served: Sequence[str]) -> None:
        """Choose the model among those that the server lists.

        Raises:
            BackendError: The server lists others, and the caller's choice is not clear.
        """
        if self.model in served:
            return
        if not self.named and len(served) == 1:
            self.model = served[0]
            return
        raise BackendError(
            f"{self.http.address} serves {', '.join(map(repr, served)) or 'no model'}, not "
            f"{self.model!r}. Give one of its names in `Remote(model=...)`, which adapters call "
            "`served_model`."
        )


def _joined(parts: Sequence[Output]) -> Output:
    counts = [part.tokens for part in parts if part.tokens is not None]
    return Output(
        np.concatenate([part.values for part in parts]),
        np.concatenate(counts) if len(counts) == len(parts) else None,
        np.concatenate([part.cut_at for part in parts]),
        np.concatenate([part.query_cut_at for part in parts]),
    )


def read_vectors(answer: Any, count: int) -> Answer:
    """Read vectors in OpenAI's shape, in the order of their indices.

    Raises:
        BrokenAnswer: A vector is missing, damaged or of another length than the others.
    """
    vectors = read_indexed(answer["data"], count, "index")
    return Answer(vectors, read_count(answer.get("usage"), "prompt_tokens"))


def read_count(answer: Any, name: str) -> int | None:
    """Read a count of tokens; `None` if the server tells none."""
    value = answer.get(name) if isinstance(answer, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_indexed(items: Any, count: int, index: str) -> FloatArray:
    """Read vectors in the order of their indices.

    Args:
        items: The vectors, each with its index.
        count: How many there must be.
        index: The field of the index.

    Raises:
        BrokenAnswer: A vector is missing, damaged or of another length than the others.
    """
    rows: list[FloatArray | None] = [None] * count
    for item in items:
        rows[_place(item[index], rows)] = _vector(item["embedding"])
    return _stack(rows)


def read_rows(rows: Any, count: int) -> FloatArray:
    """Read vectors in the order of the texts.

    Raises:
        BrokenAnswer: A vector is missing, damaged or of another length than the others.
    """
    found: list[FloatArray | None] = [_vector(row) for row in rows]
    if len(found) > count:
        raise BrokenAnswer(f"{len(found)} vectors for {count} texts")
    return _stack([*found, *[None] * (count - len(found))])


def _stack(rows: Sequence[FloatArray | None]) -> FloatArray:
    """Join vectors, and check that all are there.

    Raises:
        BrokenAnswer: They are not.
    """
    found = [row for row in rows if row is not None]
    if len(found) < len(rows):
        raise BrokenAnswer(f"{len(found)} vectors for {len(rows)} texts")
    if len({len(row) for row in found}) > 1 or any(row.ndim != 1 or not len(row) for row in found):
        raise BrokenAnswer("vectors of different lengths")
    values = np.stack(found)
    if not np.isfinite(values).all():
        raise BrokenAnswer("a vector with numbers that are not finite")
    return values


def read_scores(items: Any, count: int, key: str) -> FloatArray:
    """Read scores in the order of their indices.

    Raises:
        BrokenAnswer: A score is missing or not a finite number.
    """
    scores: list[float | None] = [None] * count
    for item in items:
        scores[_place(item["index"], scores)] = _score(item[key])
    if None in scores:
        raise BrokenAnswer(f"{count - scores.count(None)} scores for {count} documents")
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BrokenAnswer("a score that is not finite")
    return values  # type: ignore[return-value]  # float64 until the log-odds are taken


def read_numbers(values: Any, shape: tuple[int, ...]) -> FloatArray:
    """Read scores whose order alone tells what they belong to.

    Raises:
        BrokenAnswer: They are of another shape, or not finite numbers.
    """
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "fiu" or numbers.shape != shape or not np.isfinite(numbers).all():
        raise BrokenAnswer(f"no scores of shape {shape}")
    return numbers.astype(np.float64)


def _score(value: Any) -> float:
    """Read a score, which is a number: `float` would also read texts and truth values."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BrokenAnswer("a score that is no number")
    return float(value)


def log_odds(probabilities: FloatArray) -> FloatArray:
    """Convert probabilities to log-odds.

    A probability that was rounded to 0 or 1 becomes the last one before it in float32.

    Raises:
        BackendError: A number is no probability.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if len(values) and (values.min() < 0 or values.max() > 1):
        raise BackendError(
            f"The server answers with scores from {values.min():g} to {values.max():g}, and those "
            "of Qwen3-Reranker are between 0 and 1: it runs another kind of model."
        )
    tiny = 2.0**-25
    clipped = np.clip(values, tiny, 1 - tiny)
    result: FloatArray = (np.log(clipped) - np.log1p(-clipped)).astype(np.float32)
    return result


def _place(index: Any, rows: Sequence[object]) -> int:
    """Check an index against the places, which hold `None` until they are filled."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(rows):
        raise BrokenAnswer(f"the index {index!r} for {len(rows)} texts")
    if rows[index] is not None:
        raise BrokenAnswer(f"the index {index} twice")
    return index


def _vector(data: Any) -> FloatArray:
    """Read a vector, from numbers or base64."""
    if isinstance(data, str):
        bits = base64.b64decode(data, validate=True)
        return np.frombuffer(bits, dtype="<f4").astype(np.float32)
    row = np.asarray(data)
    if row.dtype.kind not in "fiu":
        raise BrokenAnswer("a vector that is no list of numbers")
    with np.errstate(over="ignore"):  # what is too large is not finite then
        return row.astype(np.float32)
