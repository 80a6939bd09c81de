"""The two training losses of the Qwen3 Embedding report (arXiv 2506.05176, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from qwen3_rag.errors import InputError

__all__ = ["DEFAULT_MARGIN", "DEFAULT_TEMPERATURE", "embedding_loss", "reranking_loss"]

#: A text whose similarity exceeds the positive's by more than this is a likely false negative.
DEFAULT_MARGIN = 0.1

# The report does not state its temperature; this value is common for cosine similarities.
DEFAULT_TEMPERATURE = 0.05


def embedding_loss(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    *,
    positive_ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    margin: float = DEFAULT_MARGIN,
    dims: Sequence[int] | None = None,
) -> Tensor:
    """Contrastive loss with hard negatives, in-batch terms and a false-negative mask.

    The denominator for query `i` contains its positive, its hard negatives and, for every other
    example `j`, the query-query, document-document and query-document similarities. Terms whose
    similarity exceeds the positive's by more than `margin`, or whose document is the positive
    itself, are masked: they probably answer the query too.

    Args:
        queries: Query vectors `[batch, dim]`; they need not be normalised.
        positives: Document vectors `[batch, dim]`; row `i` answers query `i`.
        negatives: Hard negatives `[batch, count, dim]`; row `i` belongs to query `i`.
        positive_ids: Document ids `[batch]`, equal where two positives are the same document. When
            omitted, all positives are treated as different documents.
        negative_ids: Document ids `[batch, count]` in the same numbering; a negative number marks
            padding. When omitted, there is no padding.
        temperature: Divides the similarities.
        margin: Margin of the false-negative mask.
        dims: Sizes of the vector prefixes to average the loss over (MRL). The full vector only
            when omitted.

    Returns:
        The mean over the batch and over `dims`.

    Raises:
        InputError: `temperature` is not positive, or a size in `dims` exceeds the vectors' size.
    """
    if temperature <= 0:
        raise InputError(f"`temperature` must be positive, got {temperature}.")
    size = queries.shape[-1]
    sizes = tuple(dims) if dims else (size,)
    if not all(0 < dim <= size for dim in sizes):
        raise InputError(f"`dims` must be between 1 and the vectors' {size}, got {sizes}.")
    masked_ids = _false_negatives_by_id(queries, negatives, positive_ids, negative_ids)
    losses = [
        _prefix_loss(
            functional.normalize(queries[..., :dim], dim=-1),
            functional.normalize(positives[..., :dim], dim=-1),
            None if negatives is None else functional.normalize(negatives[..., :dim], dim=-1),
            masked_ids,
            temperature,
            margin,
        )
        for dim in sizes
    ]
    return torch.stack(losses).mean()


def _false_negatives_by_id(
    queries: Tensor,
    negatives: Tensor | None,
    positive_ids: Tensor | None,
    negative_ids: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Mask terms regardless of similarity: the same document, padding, and the example itself."""
    batch, device = len(queries), queries.device
    if positive_ids is None:
        positive_ids = torch.arange(batch, device=device)
    # An example's ids equal its own, so this also masks j = i.
    same = positive_ids[:, None] == positive_ids[None, :]
    if negatives is None:
        return same, None
    if negative_ids is None:
        return same, torch.zeros(negatives.shape[:2], dtype=torch.bool, device=device)
    return same, (negative_ids == positive_ids[:, None]) | (negative_ids < 0)


def _prefix_loss(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    masked_ids: tuple[Tensor, Tensor | None],
    temperature: float,
    margin: float,
) -> Tensor:
    positive = (queries * positives).sum(-1, keepdim=True)
    in_batch, hard = masked_ids
    groups = [
        (queries @ queries.T, in_batch),
        (positives @ positives.T, in_batch),
        (queries @ positives.T, in_batch),
    ]
    if negatives is not None and hard is not None:
        groups.append((torch.einsum("bd,bnd->bn", queries, negatives), hard))
    terms = [positive / temperature]
    for similarities, excluded in groups:
        masked = excluded | (similarities.detach() > positive.detach() + margin)
        terms.append((similarities / temperature).masked_fill(masked, -torch.inf))
    # log Z minus the positive's logit; logsumexp cannot overflow.
    log_z = torch.logsumexp(torch.cat(terms, dim=-1), dim=-1)
    return (log_z - terms[0][:, 0]).mean()


def reranking_loss(no_logits: Tensor, yes_logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the correct answer, with a softmax over "no" and "yes" only.

    Args:
        no_logits: Logits `[batch]` of "no" at the last position.
        yes_logits: Logits `[batch]` of "yes" at the last position.
        labels: 1 where the document meets the requirements, else 0.

    Returns:
        The mean over the batch.
    """
    logits = torch.stack([no_logits, yes_logits], dim=-1)
    return functional.cross_entropy(logits, labels.long())
