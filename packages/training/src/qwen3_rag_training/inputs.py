"""Padded token batches, with the prompts and the tokenizer that inference uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qwen3_rag.backends import EmbedPrompt, Limits, Prompt, RerankPrompt
from qwen3_rag.integration import document_prefix, query_template, saved_instruction

if TYPE_CHECKING:
    from qwen3_rag.integration import TrainableModel

__all__ = ["Inputs", "TokenBatch"]

# Rows are padded on the right. Attention is causal, so no real token attends to the padding and
# any id will do.
_PAD_ID = 0


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """Token sequences padded to one length.

    Attributes:
        ids: Token ids `[rows, length]`.
        mask: 1 for a token, 0 for padding.
        last: Position of each row's last token.
    """

    ids: Tensor
    mask: Tensor
    last: Tensor

    def to(self, device: torch.device) -> TokenBatch:
        """Copy the batch to a device."""
        return TokenBatch(self.ids.to(device), self.mask.to(device), self.last.to(device))


class Inputs:
    """Encodes texts with a checkpoint's tokenizer."""

    def __init__(self, start: TrainableModel) -> None:
        """Take the tokenizer, the prompts and the context length of an opened checkpoint."""
        self._tokens = start.tokenizer
        self._saved = start.prompts
        self._context = int(start.trunk.config.max_position_embeddings)

    @property
    def answers(self) -> tuple[int, int]:
        """Token ids of "no" and "yes"."""
        return self._tokens.no, self._tokens.yes

    def queries(
        self, texts: Sequence[str], instructions: Sequence[str | None], max_tokens: int
    ) -> TokenBatch:
        """Encode queries, each cut to `max_tokens` in total.

        Args:
            texts: The queries.
            instructions: What each query is for; `None` for the checkpoint's default.
            max_tokens: Maximum tokens per query, with its instruction.
        """
        template = query_template(self._saved)
        prompts = list(map(template.prompt, texts, instructions))
        return self._batch(prompts, Limits(max_length=max_tokens))

    def documents(self, texts: Sequence[str], max_tokens: int) -> TokenBatch:
        """Encode documents for the embedder, each cut to `max_tokens` in total."""
        prefix = document_prefix(self._saved)
        prompts = [EmbedPrompt(text, prefix=prefix) for text in texts]
        return self._batch(prompts, Limits(max_length=max_tokens))

    def pair(self, query: str, document: str, instruction: str | None) -> RerankPrompt:
        """Make the prompt of a pair; without an instruction it has the checkpoint's default."""
        return RerankPrompt(query, document, instruction or saved_instruction(self._saved))

    def pairs(
        self, prompts: Sequence[RerankPrompt], max_query_tokens: int, max_document_tokens: int
    ) -> TokenBatch:
        """Encode pairs for the reranker; query and document are cut separately."""
        limits = Limits(max_query_tokens=max_query_tokens, max_document_tokens=max_document_tokens)
        return self._batch(prompts, limits)

    def _batch(self, prompts: Sequence[Prompt], limits: Limits) -> TokenBatch:
        encoded = self._tokens.encode(prompts, limits, self._context)
        rows = [(*one.sequence.prefix, *one.sequence.ids) for one in encoded]
        lengths = torch.tensor([len(row) for row in rows])
        longest = int(lengths.max())
        ids = torch.tensor([[*row, *[_PAD_ID] * (longest - len(row))] for row in rows])
        mask = (torch.arange(longest)[None, :] < lengths[:, None]).long()
        return TokenBatch(ids, mask, lengths - 1)
