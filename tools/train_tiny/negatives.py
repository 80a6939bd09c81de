"""Hard negatives: documents of the same source and language that BM25 ranks high.

Terms and weights come from `qwen3_rag.lexical.BM25Encoder`, as in a hybrid search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from qwen3_rag.lexical import BM25Encoder, SparseVector
from qwen3_rag_training.data import Example
from tools.train_tiny.pairs import Pair

__all__ = ["with_negatives"]

_BATCH = 512

# A document with more than this share of the positive's BM25 score may answer the query too.
_TOO_CLOSE = 0.95


def _matrix(vectors: Sequence[SparseVector], terms: NDArray[np.uint32]) -> sparse.csr_matrix:
    """Stack vectors as rows; `terms` is sorted, and terms outside it are dropped."""
    rows = np.repeat(np.arange(len(vectors)), [len(vector) for vector in vectors])
    indices = np.concatenate([vector.indices for vector in vectors])
    values = np.concatenate([vector.values for vector in vectors])
    columns = np.searchsorted(terms, indices).clip(max=len(terms) - 1)
    known = terms[columns] == indices
    return sparse.csr_matrix(
        (values[known], (rows[known], columns[known])), shape=(len(vectors), len(terms))
    )


def _idf(weights: sparse.csr_matrix) -> NDArray[np.float32]:
    """Compute the IDF of every term."""
    seen = np.bincount(weights.indices, minlength=weights.shape[1])
    found = np.log(1 + (weights.shape[0] - seen + 0.5) / (seen + 0.5))
    return np.asarray(found, np.float32)


def with_negatives(pairs: Sequence[Pair], count: int, seed: int) -> Iterator[Example]:
    """Add hard negatives to each pair.

    Args:
        pairs: The pairs of one group.
        count: Negatives per pair, drawn from the best `4 * count`.
        seed: Random seed.
    """
    numbers: dict[str, int] = {}
    for pair in pairs:
        numbers.setdefault(pair.document, len(numbers))
    texts = list(numbers)
    encoder = BM25Encoder()
    vectors = [encoder.encode_document(text) for text in texts]
    terms = np.unique(np.concatenate([vector.indices for vector in vectors]))
    weights = _matrix(vectors, terms)
    by_term = (weights @ sparse.diags(_idf(weights))).T.tocsr()
    random = np.random.default_rng(seed)
    for start in range(0, len(pairs), _BATCH):
        some = pairs[start : start + _BATCH]
        queries = _matrix([encoder.encode_query(pair.query) for pair in some], terms)
        scores = np.asarray((queries @ by_term).todense())
        for pair, row in zip(some, scores, strict=True):
            best = _best(row, numbers[pair.document], 4 * count)
            drawn = random.permutation(len(best))[:count]
            negatives = tuple(texts[best[place]] for place in sorted(drawn))
            yield Example(pair.query, pair.document, negatives)


def _best(scores: NDArray[np.float32], positive: int, count: int) -> list[int]:
    """Return the best documents, without the positive and those that score close to it."""
    reach = min(len(scores), 2 * count + 2)
    found = np.argpartition(-scores, reach - 1)[:reach]
    found = found[np.argsort(-scores[found], kind="stable")]
    ceiling = max(float(scores[positive]) * _TOO_CLOSE, float(np.median(scores[found])))
    return [int(i) for i in found if i != positive and scores[i] <= ceiling][:count]
