"""What a checkpoint says of itself, for a server that runs it: all but its weights."""

from __future__ import annotations

from dataclasses import dataclass

from qwen3_rag._published import CONTEXT
from qwen3_rag.backends._checkpoint.files import find_files
from qwen3_rag.backends._checkpoint.hub import Checkpoint, Source, resolve
from qwen3_rag.backends._checkpoint.layout import check_settings
from qwen3_rag.backends._checkpoint.sizes import SIZES
from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
from qwen3_rag.backends._checkpoint.words import Words, read_words

__all__ = ["Description", "describe", "usable_earlier"]


@dataclass(frozen=True)
class Description:
    """A checkpoint without its weights.

    Attributes:
        name: The model's name, as given by the caller.
        fingerprint: Hash of the content, `None` if the weights are not at hand.
        earlier_fingerprint: Hash by the rule of the first release, under the same condition.
        dim: Size of a full vector.
        context: Longest input in tokens.
        words: Its prompts and answers.
        tokenizer: Encodes prompts for it.
    """

    name: str
    fingerprint: str | None
    earlier_fingerprint: str | None
    dim: int
    context: int
    words: Words
    tokenizer: PromptTokenizer


def describe(source: Source) -> Description:
    """Read a checkpoint's settings and tokenizer; its weights may be missing.

    Raises:
        ModelError: The checkpoint is missing, broken or of another family or role.
        MissingExtraError: A package to fetch or read it is not installed.
    """
    checkpoint: Checkpoint = resolve(source)
    config = check_settings(checkpoint, source.role)
    words = read_words(checkpoint, source.role)
    tokenizer = PromptTokenizer.from_folder(
        checkpoint.tokenizer_folder,
        source.role,
        name=checkpoint.name,
        answers=words.answers,
        max_length=words.max_length,
    )
    complete = bool(find_files(checkpoint.folder).weights)
    return Description(
        name=source.model,
        fingerprint=checkpoint.fingerprint if complete else None,
        earlier_fingerprint=usable_earlier(checkpoint, words, tokenizer) if complete else None,
        dim=int(config.get("hidden_size", SIZES["hidden_size"])),
        context=min(int(config.get("max_position_embeddings", CONTEXT)), CONTEXT),
        words=words,
        tokenizer=tokenizer,
    )


def usable_earlier(checkpoint: Checkpoint, words: Words, tokenizer: PromptTokenizer) -> str | None:
    """Return the earlier fingerprint if the first release made the same document vectors."""
    texts = dict(words.prompts.texts)
    queries_alone = all(name == "query" for name, text in texts.items() if text)
    same = queries_alone and tokenizer.is_published
    return checkpoint.earlier_fingerprint if same else None
