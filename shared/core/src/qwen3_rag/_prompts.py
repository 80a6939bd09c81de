"""The exact text both models were trained on: structure in, text segments out.

Every byte here is the model's contract (Qwen3-Embedding and Qwen3-Reranker model cards). Knows
nothing of tokenizers or devices; a checkpoint's own chat template is never rendered.
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

# The two control segments: the only text whose control tokens are read as such.
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
        instruction: What the query is for; `None` makes it a document.
    """

    text: str
    instruction: str | None = None

    @property
    def size(self) -> int:
        """Characters behind the head, a rough measure of the work."""
        return len(self.text)

    @property
    def head(self) -> str:
        """What comes before the text. No space follows `Query:`."""
        return "" if self.instruction is None else f"Instruct: {self.instruction}\nQuery:"

    @property
    def rendered(self) -> str:
        """The whole text, tokenised as one piece: `Query:` and the query share tokens."""
        return self.head + self.text


@dataclass(frozen=True, slots=True)
class RerankPrompt:
    """A query-document pair to judge.

    Attributes:
        query: What is asked.
        document: What may answer it.
        instruction: What counts as an answer.
    """

    query: str
    document: str
    instruction: str = DEFAULT_INSTRUCTION

    @property
    def size(self) -> int:
        """Characters behind the head, a rough measure of the work."""
        return len(self.document)

    @property
    def head(self) -> str:
        """The part all documents of one query share; it ends before the document's space.

        Splitting behind that space would change token ids, splitting before it never does.
        """
        return f"<Instruct>: {self.instruction}\n<Query>: {self.query}\n<Document>:"

    @property
    def body(self) -> str:
        """The part that is the document's own, leading space included."""
        return " " + self.document

    @property
    def rendered(self) -> str:
        """The whole prompt, control segments included."""
        return RERANK_PREFIX + self.head + self.body + RERANK_SUFFIX


Prompt = EmbedPrompt | RerankPrompt
