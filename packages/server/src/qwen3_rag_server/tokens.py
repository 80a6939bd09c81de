"""`PromptTokens`: the token ids of a model's prompts, as its engine encodes them."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Limits, Prompt
from qwen3_rag.integration import (
    arguments_of,
    local_options,
    prompt_tokenizer,
    resolve_checkpoint,
)

__all__ = ["PromptTokens"]

ANY = 2**31  # tokens, so that nothing is cut


class PromptTokens:
    """Encodes the prompts of a model that runs in this process.

    Attributes:
        longest: Tokens of a prompt that is not cut, where nobody has set a limit.
        end_text: The token behind every text; "" for a reranker.
    """

    def __init__(self, model: Qwen3Embedder | Qwen3Reranker) -> None:
        """Read the tokenizer.

        Raises:
            ModelError: It is missing or broken.
        """
        given = arguments_of(model)
        options = {name: given[name] for name in local_options() if name in given}
        checkpoint = resolve_checkpoint(model.model, model.role, weights=False, **options)
        self._tokenizer = prompt_tokenizer(checkpoint, model.role)
        self.longest = self._tokenizer.longest
        self.end_text: str = getattr(self._tokenizer, "end_text", "")

    def ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the ids of whole prompts, of which nothing is cut."""
        encoded = self._tokenizer.encode(prompts, Limits(ANY), ANY)
        return [[*one.sequence.prefix, *one.sequence.ids] for one in encoded]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the tokens of a text begin and end, in characters."""
        return self._tokenizer.spans(text)
