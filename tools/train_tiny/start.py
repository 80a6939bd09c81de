"""The embedder's initial weights, computed from statistics of the corpus.

A token vector is the sum of a random code that keeps tokens apart, the SVD of the corpus' TF-IDF
matrix, and for English words the vector of a teacher model. Two further dimensions hold a constant
and the token's IDF. The attention of the first layer averages all tokens so far, weighted by IDF. A
two-layer model trained from random weights on so little text is worse.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import (  # type: ignore[import-untyped]  # ships no types
    randomized_svd,
)
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import EmbedPrompt
from qwen3_rag.errors import InputError
from qwen3_rag_training.checkpoints import quiet
from tools.train_tiny.text import Section

__all__ = [
    "EMBEDDER_LAYERS",
    "count_matrix",
    "embedder_start",
    "idf_of",
    "teacher_vectors",
    "token_vectors",
]

Matrix = NDArray[np.float32]

EMBEDDER_LAYERS = 2

# Weights of the random code and of the SVD; the teacher's weight is 1 for a whole word.
_PREFIX_CODE_SHARE, _CODE_SHARE, _SVD_SHARE = 0.3, 0.5, 0.15

# The teacher vector of a word piece is less informative than that of a word.
_PIECE_SHARE = 0.3

# The SVD vectors of tokens in fewer documents than this are mostly noise.
_SEEN_OFTEN = 50

# The prompt is part of every query and carries no information, so its tokens get less weight.
_PROMPT_SHARE = 0.4

_CONSTANT = 0.5
_FLATNESS = 3.0

# Value of each dimension of the end token; other token vectors have a length of about 1.
_END_TOKEN = 1e-4


def count_matrix(tokenizer: Tokenizer, texts: Sequence[str]) -> sparse.csr_matrix:
    """Count tokens; the result is `[texts, vocabulary]`."""
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


def idf_of(tokenizer: Tokenizer, sections: Sequence[Section]) -> Matrix:
    """Compute each token's IDF in the language in which it is most frequent.

    If all languages were counted together, the most frequent words of a small one would be rare.
    """
    texts = defaultdict(list)
    for section in sections:
        texts[section.language].append(section.heading + "\n" + section.body)
    share = np.zeros(tokenizer.get_vocab_size(), np.float32)
    total = 0
    for documents in texts.values():
        counts = count_matrix(tokenizer, documents)
        seen = np.bincount(counts.indices, minlength=len(share))
        # Smoothing: a few pages say little about how frequent the words of a language are.
        share = np.maximum(share, (seen + 0.25) / (len(documents) + 500)).astype(np.float32)
        total += len(documents)
    idf = -np.log(np.maximum(share, 0.25 / total))
    prompt = EmbedPrompt("", DEFAULT_INSTRUCTION).rendered
    idf[sorted(set(tokenizer.encode(prompt, add_special_tokens=False).ids))] *= _PROMPT_SHARE
    return np.asarray(np.maximum(idf, 0.05), np.float32)


def teacher_vectors(tokenizer: Tokenizer, folder: Path, vocabulary: int) -> Matrix:
    """Compute the teacher's vectors of English words and word pieces; zeros for other tokens.

    Args:
        tokenizer: The student's tokenizer.
        folder: A checkpoint in sentence-transformers' layout, with mean pooling.
        vocabulary: Number of rows.

    Raises:
        InputError: The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"There is no teacher checkpoint at {str(folder)!r}.")
    words = set((folder / "vocab.txt").read_text(encoding="utf-8").split("\n"))
    texts = [tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size())]
    chosen = [
        token
        for token, text in enumerate(texts)
        if text.strip().isascii() and text.strip().isalpha() and len(text.strip()) > 1
    ]
    found = _encode([texts[token].strip() for token in chosen], folder)
    found -= found.mean(0)  # what all words share says nothing about any of them
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    whole = [texts[t].startswith(" ") and texts[t].strip().lower() in words for t in chosen]
    found *= np.where(whole, 1.0, _PIECE_SHARE)[:, None]
    vectors = np.zeros((vocabulary, found.shape[1]), np.float32)
    vectors[chosen] = found
    return vectors


@torch.no_grad()
def _encode(texts: Sequence[str], folder: Path) -> Matrix:
    with quiet():
        model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = []
    for start in range(0, len(texts), 256):
        batch = tokenizer(list(texts[start : start + 256]), return_tensors="pt", padding=True)
        mask = batch["attention_mask"][..., None]
        states = model(**batch).last_hidden_state
        pooled = (states * mask).sum(1) / mask.sum(1)
        parts.append(torch.nn.functional.normalize(pooled, dim=-1))
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def token_vectors(
    counts: sparse.csr_matrix, idf: Matrix, teacher: Matrix, dim: int, first: int, seed: int
) -> Matrix:
    """Compute unit vectors of all tokens.

    Args:
        counts: Token counts `[documents, vocabulary]`. With translations of a text in one document,
            words of several languages get similar vectors.
        idf: IDF `[vocabulary]`.
        teacher: Teacher vectors `[vocabulary, teacher dim]`; zero for tokens without one.
        dim: Size of the vectors.
        first: Size of the prefix that has to work alone (MRL). It gets the teacher's principal
            axes and a smaller share of the random code.
        seed: Seed of the random codes and of the SVD.
    """
    random = np.random.default_rng(seed)
    size, rest = counts.shape[1], dim - first
    sizes = np.linalg.norm(teacher, axis=1, keepdims=True)
    taught = np.zeros((size, dim))
    known = sizes[:, 0] > 0
    # Whitened: otherwise the strongest axes of the teacher would dominate.
    axes, _, _ = np.linalg.svd(teacher[known], full_matrices=False)
    taught[known, : min(dim, axes.shape[1])] = axes[:, :dim]
    codes = random.standard_normal((size, dim))
    head = _unit(taught[:, :first]) * sizes + _PREFIX_CODE_SHARE * _unit(codes[:, :first])
    seen = np.bincount(counts.indices, minlength=size)
    svd = _unit(_svd(counts, idf, rest, seed)) * np.minimum(1, seen / _SEEN_OFTEN)[:, None]
    tail = (
        _unit(taught[:, first:]) * sizes
        + _CODE_SHARE * _unit(codes[:, first:])
        + _SVD_SHARE * svd @ _rotation(rest, random)
    )
    parts = (_unit(head) * (first / dim) ** 0.5, _unit(tail) * (rest / dim) ** 0.5)
    return np.hstack(parts).astype(np.float32)


def _svd(counts: sparse.csr_matrix, idf: Matrix, dim: int, seed: int) -> NDArray[np.floating]:
    """Compute the left singular vectors of the TF-IDF matrix `[tokens, documents]`."""
    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * idf[weighted.indices]
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel()) + 1e-9
    weighted = sparse.diags((1 / lengths).astype(np.float32)) @ weighted
    left, _, _ = randomized_svd(weighted.T.tocsr(), dim, n_iter=3, random_state=seed)
    # With fewer documents than dimensions, the remaining dimensions are zero.
    return np.pad(np.asarray(left), ((0, 0), (0, dim - left.shape[1])))


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9))


def _rotation(dim: int, random: np.random.Generator) -> NDArray[np.floating]:
    return np.asarray(np.linalg.qr(random.standard_normal((dim, dim)))[0])


@torch.no_grad()
def embedder_start(config: Qwen3Config, vectors: Matrix, idf: Matrix) -> Qwen3ForCausalLM:
    """Build a model whose output is the weighted mean of its token vectors.

    Args:
        config: Configuration with heads * head size = hidden size.
        vectors: Token vectors `[vocabulary, hidden size - 2]`.
        idf: Token weights `[vocabulary]`.
    """
    model = Qwen3ForCausalLM(config)
    hidden, head = int(config.hidden_size), int(config.head_dim)
    table = model.model.embed_tokens.weight
    table.normal_(0, 0.02)
    table[: len(vectors), : hidden - 2] = torch.from_numpy(vectors)
    table[:, hidden - 2] = _CONSTANT
    level = np.log(np.maximum(idf, 1e-3))
    middle, reach = (level.max() + level.min()) / 2, (level.max() - level.min()) / 2
    height = torch.from_numpy((level - middle) / reach)
    table[:, hidden - 1] = -_CONSTANT / _FLATNESS
    table[: len(height), hidden - 1] = height * (_CONSTANT / _FLATNESS)
    # The end token is nearly zero: just enough to give an empty text a direction.
    table[len(vectors), : hidden - 2] = _END_TOKEN
    for number, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        layer.mlp.down_proj.weight.zero_()
        if number > 0:
            attention.o_proj.weight.zero_()
            continue
        # Other entries would distort the mean: random weights of 0.02 rotated it by 18 degrees.
        attention.q_proj.weight.zero_()
        attention.k_proj.weight.zero_()
        identity = torch.eye(hidden)
        attention.o_proj.weight.copy_(identity)
        identity[hidden - 2 :, hidden - 2 :] = 0
        attention.v_proj.weight.copy_(identity)
        # The slowest rotary pairs hardly rotate within the context. The query has the constant in
        # one of them. The key has the log IDF there and the constant in another one, so that
        # normalising the key keeps the proportion. Their product is close to the log IDF.
        one, other = head // 2 - 1, head // 2 - 2
        for start in range(0, hidden, head):
            attention.q_proj.weight[start + one, hidden - 2] = 1.0
            attention.k_proj.weight[start + one, hidden - 1] = 1.0
            attention.k_proj.weight[start + other, hidden - 2] = 1.0
        # Normalised query times key is head size times cosine, about height / flatness.
        scale = (reach * _FLATNESS / head**0.5) ** 0.5
        attention.q_norm.weight.fill_(float(scale))
        attention.k_norm.weight.fill_(float(scale))
    return model
