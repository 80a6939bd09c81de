"""The prompts of both models, byte for byte as in their model cards.

A checkpoint's chat template is never used.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DEFAULT_INSTRUCTION",
    "RERANK_PREFIX",
    "RERANK_SUFFIX",
    "EmbedPrompt",
    "Prompt",
    "RerankPrompt",
]

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

# Control tokens are recognised in these two segments only; in user text they are plain text.
RERANK_PREFIX = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
RERANK_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class EmbedPrompt:
    """A text to embed.

    Attributes:
        text: The query or document.
        instruction: What the query is for; `None` for a document.
    """

    text: str
    instruction: str | None = None

    def __post_init__(self) -> None:
        _make_plain(self)

    @property
    def head(self) -> str:
        """The part before the text. No space follows `Query:`."""
        return "" if self.instruction is None else f"Instruct: {self.instruction}\nQuery:"

    @property
    def body(self) -> str:
        """The text."""
        return self.text

    @property
    def rendered(self) -> str:
        """The whole prompt, tokenised as one piece: a token may span `Query:` and the query."""
        return self.head + self.body


@dataclass(frozen=True, slots=True)
class RerankPrompt:
    """A query-document pair to judge.

    Attributes:
        query: The question.
        document: The text that may answer it.
        instruction: What counts as an answer.
    """

    query: str
    document: str
    instruction: str = DEFAULT_INSTRUCTION

    def __post_init__(self) -> None:
        _make_plain(self)

    @property
    def head(self) -> str:
        """The part shared by all documents of a query, up to the space before the document.

        Splitting after that space would change token ids; splitting before it never does.
        """
        return f"<Instruct>: {self.instruction}\n<Query>: {self.query}\n<Document>:"

    @property
    def body(self) -> str:
        """The document with the space before it."""
        return " " + self.document

    @property
    def rendered(self) -> str:
        """The whole prompt, with the control segments."""
        return RERANK_PREFIX + self.head + self.body + RERANK_SUFFIX


Prompt = EmbedPrompt | RerankPrompt


def _make_plain(prompt: Prompt) -> None:
    """Replace instances of subclasses of `str`, which may compare and hash in a way of their own.

    Equal prompts are computed once, so prompts must be equal just when their characters are.
    """
    for name in prompt.__slots__:
        value = getattr(prompt, name)
        if isinstance(value, str) and type(value) is not str:
            object.__setattr__(prompt, name, str.__str__(value))
