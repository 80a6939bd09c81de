"""`PromptTokens`: the token ids of a model's prompts, as its engine makes them."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Capabilities, EmbedPrompt, Limits, Prompt, RerankPrompt
from qwen3_rag.integration import (
    arguments_of,
    document_prefix,
    local_options,
    prompt_tokenizer,
    query_template,
    resolve_checkpoint,
    saved_instruction,
)

__all__ = ["PromptTokens"]

ANY = 2**31  # tokens, so that nothing is cut


class PromptTokens:
    """Makes token ids of the prompts of a model that runs in this process.

    Attributes:
        longest: Tokens of a prompt that is not cut, where nobody has set a limit.
        end_text: The token behind every text; "" for a reranker.
    """

    def __init__(self, model: Qwen3Embedder | Qwen3Reranker, capabilities: Capabilities) -> None:
        """Read the tokenizer.

        Raises:
            ModelError: It is missing or broken.
        """
        given = arguments_of(model)
        options = {name: given[name] for name in local_options() if name in given}
        checkpoint = resolve_checkpoint(model.model, model.role, weights=False, **options)
        self._tokenizer = prompt_tokenizer(checkpoint, model.role)
        self._given, self._saved = given, capabilities.prompts
        self.longest = self._tokenizer.longest
        self.end_text: str = getattr(self._tokenizer, "end_text", "")

    def queries(self, texts: Sequence[str], instruction: str | None) -> list[Prompt]:
        """Make the prompts of queries."""
        template = query_template(self._saved, self._given["query_template"])
        chosen = instruction or self._given["instruction"]
        return [template.prompt(text, chosen) for text in texts]

    def documents(self, texts: Sequence[str]) -> list[Prompt]:
        """Make the prompts of documents."""
        prefix = document_prefix(self._saved, self._given["document_prefix"])
        return [EmbedPrompt(text, prefix=prefix) for text in texts]

    def pairs(self, query: str, documents: Sequence[str], instruction: str | None) -> list[Prompt]:
        """Make the prompts of a query with documents."""
        chosen = instruction or self._given["instruction"] or saved_instruction(self._saved)
        return [RerankPrompt(query, document, chosen) for document in documents]

    def ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the ids of whole prompts, of which nothing is cut."""
        encoded = self._tokenizer.encode(prompts, Limits(ANY), ANY)
        return [[*one.sequence.prefix, *one.sequence.ids] for one in encoded]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the tokens of a text begin and end, in characters."""
        return self._tokenizer.spans(text)
