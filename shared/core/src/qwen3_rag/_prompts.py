"""The prompts of both models, byte for byte as in their model cards.

A checkpoint's chat template is never used.
"""

from __future__ import annotations

from dataclasses import dataclass

from qwen3_rag.errors import InputError, ModelError

__all__ = [
    "CONTROL_TOKENS",
    "DEFAULT_INSTRUCTION",
    "QUERY_TEMPLATE",
    "RERANK_PREFIX",
    "RERANK_SUFFIX",
    "EmbedPrompt",
    "Prompt",
    "QueryTemplate",
    "RerankPrompt",
    "SavedPrompts",
]

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

#: The prompt of a query. No space follows `Query:`.
QUERY_TEMPLATE = "Instruct: {instruction}\nQuery:{text}"

#: Qwen3's own added tokens, which are plain text wherever a user writes them.
CONTROL_TOKENS = frozenset(
    (
        *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>"),
        *("<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
        *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
        *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
        *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>"),
        *("<think>", "</think>"),
    )
)

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
        prefix: Everything before the text, if it is not as in Qwen's model card. It then includes
            the instruction.
    """

    text: str
    instruction: str | None = None
    prefix: str | None = None

    def __post_init__(self) -> None:
        _make_plain(self)

    @property
    def head(self) -> str:
        """The part before the text."""
        if self.prefix is not None:
            return self.prefix
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


@dataclass(frozen=True, slots=True)
class QueryTemplate:
    """Makes the prompts of queries.

    Attributes:
        text: The prompt, with `{text}` at its end and `{instruction}` if it has a place for one.
        instruction: The default instruction.
        origin: The saved prompt that it is from, for error messages; `None` for a setting.
    """

    text: str = QUERY_TEMPLATE
    instruction: str = DEFAULT_INSTRUCTION
    origin: str | None = None

    def prompt(self, text: str, instruction: str | None = None) -> EmbedPrompt:
        """Make the prompt of a query; without an instruction it has the default.

        Raises:
            InputError: The setting has no place for an instruction.
            ModelError: The saved prompt has no place for one.
        """
        chosen = instruction or self.instruction
        if self.text == QUERY_TEMPLATE:
            return EmbedPrompt(text, chosen)
        before = self.text.removesuffix("{text}")
        if "{instruction}" in before:
            return EmbedPrompt(text, chosen, before.replace("{instruction}", chosen))
        if instruction is None:
            return EmbedPrompt(text, "", before)
        if self.origin is None:
            raise InputError(
                f"`query_template` {self.text!r} has no {{instruction}}, so `instruction` cannot "
                "be used. Put {instruction} into it, or leave `instruction` out."
            )
        raise ModelError(
            f"{self.origin} is {before!r}, which has no place for an instruction. Leave "
            "`instruction` out, or give `query_template` with {instruction} and {text}."
        )


@dataclass(frozen=True, slots=True)
class SavedPrompts:
    """The prompts that a checkpoint was saved with, as sentence-transformers keeps them.

    Attributes:
        texts: Names and texts. For an embedder, a text comes before what is embedded; for a
            reranker, it is an instruction.
        default: Name of the prompt that is used when none is named.
        source: The file that they are from, for error messages.
    """

    texts: tuple[tuple[str, str], ...] = ()
    default: str | None = None
    source: str = "config_sentence_transformers.json"


def _make_plain(prompt: Prompt) -> None:
    """Replace instances of subclasses of `str`, which may compare and hash in a way of their own.

    Equal prompts are computed once, so prompts must be equal just when their characters are.
    """
    for name in prompt.__slots__:
        value = getattr(prompt, name)
        if isinstance(value, str) and type(value) is not str:
            object.__setattr__(prompt, name, str.__str__(value))
