"""Hard negatives: what BM25 ranks high among the documents of the same source and language.

Works on token ids, so that it needs no second tokenizer and covers every script the model covers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sparse  # type: ignore[import-untyped]  # ships no types
from numpy.typing import NDArray
from tokenizers import Tokenizer

from qwen3_rag_training.data import Example
from qwen3_rag_training.tiny.pairs import Pair

__all__ = ["bm25_matrix", "count_matrix", "with_negatives"]

_K1, _B = 1.2, 0.75
_BATCH = 512

# A document this close to the positive by BM25 may well answer the query too.
_TOO_CLOSE = 0.95


def count_matrix(tokenizer: Tokenizer, texts: Sequence[str]) -> sparse.csr_matrix:
    """Token counts, `[texts, vocabulary]`."""
    rows: list[int] = []
    columns: list[int] = []
    values: list[int] = []
    for row, encoding in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        counts = Counter(encoding.ids)
        rows += [row] * len(counts)
        columns += counts.keys()
        values += counts.values()
    shape = (len(texts), tokenizer.get_vocab_size())
    return sparse.csr_matrix((np.array(values, np.float32), (rows, columns)), shape=shape)


def bm25_matrix(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """BM25 weights of documents, to be multiplied with a query's token counts."""
    lengths = np.asarray(counts.sum(1)).ravel()
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    rarity = np.log(1 + (counts.shape[0] - frequency + 0.5) / (frequency + 0.5))
    weights = counts.tocoo()
    damping = _K1 * (1 - _B + _B * lengths[weights.row] / max(lengths.mean(), 1e-9))
    data = rarity[weights.col] * weights.data * (_K1 + 1) / (weights.data + damping)
    return sparse.csr_matrix((data.astype(np.float32), (weights.row, weights.col)), counts.shape)


def with_negatives(
    pairs: Sequence[Pair], tokenizer: Tokenizer, count: int, seed: int
) -> Iterator[Example]:
    """Give each pair the documents that look most like an answer and are not.

    Args:
        pairs: Of one group.
        tokenizer: The model's.
        count: Negatives per pair, drawn from the 4 * `count` best.
        seed: Of the draw.
    """
    numbers: dict[str, int] = {}
    for pair in pairs:
        numbers.setdefault(pair.document, len(numbers))
    texts = list(numbers)
    weights = bm25_matrix(count_matrix(tokenizer, texts)).T.tocsr()
    random = np.random.default_rng(seed)
    for start in range(0, len(pairs), _BATCH):
        some = pairs[start : start + _BATCH]
        queries = count_matrix(tokenizer, [pair.query for pair in some])
        queries.data[:] = 1.0
        scores = np.asarray((queries @ weights).todense())
        for pair, row in zip(some, scores, strict=True):
            best = _best(row, numbers[pair.document], 4 * count)
            drawn = random.permutation(len(best))[:count]
            negatives = tuple(texts[best[place]] for place in sorted(drawn))
            yield Example(pair.query, pair.document, negatives)


def _best(scores: NDArray[np.float32], positive: int, count: int) -> list[int]:
    """The best-scoring documents that are neither the positive nor nearly as good as it."""
    reach = min(len(scores), 2 * count + 2)
    found = np.argpartition(-scores, reach - 1)[:reach]
    found = found[np.argsort(-scores[found], kind="stable")]
    ceiling = max(float(scores[positive]) * _TOO_CLOSE, float(np.median(scores[found])))
    return [int(i) for i in found if i != positive and scores[i] <= ceiling][:count]
