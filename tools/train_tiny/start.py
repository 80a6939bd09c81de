"""A statistical start: weights that already search before the first training step.

Token vectors are sums of three parts: a random code that tells tokens apart, the SVD of the
corpus' TF-IDF matrix, and for English words a teacher's vectors. Two further dimensions hold a
constant and the token's rarity. The first layer's attention is set up to average the tokens before
it, weighted by rarity. A two-layer model trained from random weights on this little text learns
less than that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sparse  # type: ignore[import-untyped]  # ships no types
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
    "rarity_of",
    "teacher_vectors",
    "token_vectors",
]

Matrix = NDArray[np.float32]

EMBEDDER_LAYERS = 2

# Shares of the random code and of the SVD beside the teacher, whose share is 1 for a whole word.
_PREFIX_CODE_SHARE, _CODE_SHARE, _SVD_SHARE = 0.3, 0.5, 0.15

# A word's piece says less than a word: its teacher vector counts less.
_PIECE_SHARE = 0.3

# Tokens seen in fewer documents have an SVD vector that is mostly noise.
_SEEN_OFTEN = 50

# The prompt is in every query and tells nothing; its tokens count this much less.
_PROMPT_SHARE = 0.4

_CONSTANT = 0.5
_FLATNESS = 3.0

# In every dimension, of vectors whose length is about 1.
_NEXT_TO_NOTHING = 1e-4


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


def rarity_of(tokenizer: Tokenizer, sections: Sequence[Section]) -> Matrix:
    """IDF of every token, from the language in which it is most common.

    Counting all languages together would make the commonest word of a small language rare.
    """
    texts = defaultdict(list)
    for section in sections:
        texts[section.language].append(section.heading + "\n" + section.body)
    share = np.zeros(tokenizer.get_vocab_size(), np.float32)
    total = 0
    for documents in texts.values():
        counts = count_matrix(tokenizer, documents)
        seen = np.bincount(counts.indices, minlength=len(share))
        # A language of a few pages says little about how common its words are.
        share = np.maximum(share, (seen + 0.25) / (len(documents) + 500)).astype(np.float32)
        total += len(documents)
    rarity = -np.log(np.maximum(share, 0.25 / total))
    prompt = EmbedPrompt("", DEFAULT_INSTRUCTION).rendered
    rarity[sorted(set(tokenizer.encode(prompt, add_special_tokens=False).ids))] *= _PROMPT_SHARE
    return np.asarray(np.maximum(rarity, 0.05), np.float32)


def teacher_vectors(tokenizer: Tokenizer, folder: Path, vocabulary: int) -> Matrix:
    """The teacher's vectors of tokens that are English words or pieces of one, else zeros.

    Args:
        tokenizer: The student's.
        folder: A checkpoint of the sentence-transformers layout with mean pooling.
        vocabulary: Rows wanted.

    Raises:
        InputError: The folder is not there.
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
    counts: sparse.csr_matrix, rarity: Matrix, teacher: Matrix, dim: int, first: int, seed: int
) -> Matrix:
    """Unit vectors of all tokens.

    Args:
        counts: Token counts `[documents, vocabulary]`; translations of one text as one document
            put the words of several languages close together.
        rarity: IDF `[vocabulary]`.
        teacher: `[vocabulary, teacher dim]`, zero where the teacher says nothing.
        dim: Size wanted.
        first: Size of the prefix that must do without the rest (MRL). It holds the teacher's main
            axes, where a short code tells least and meaning tells most.
        seed: Of the random codes and of the SVD.
    """
    random = np.random.default_rng(seed)
    size, rest = counts.shape[1], dim - first
    sizes = np.linalg.norm(teacher, axis=1, keepdims=True)
    taught = np.zeros((size, dim))
    known = sizes[:, 0] > 0
    # All axes of the teacher count alike: its few strongest would drown the others.
    axes, _, _ = np.linalg.svd(teacher[known], full_matrices=False)
    taught[known, : min(dim, axes.shape[1])] = axes[:, :dim]
    codes = random.standard_normal((size, dim))
    head = _unit(taught[:, :first]) * sizes + _PREFIX_CODE_SHARE * _unit(codes[:, :first])
    seen = np.bincount(counts.indices, minlength=size)
    svd = _unit(_svd(counts, rarity, rest, seed)) * np.minimum(1, seen / _SEEN_OFTEN)[:, None]
    tail = (
        _unit(taught[:, first:]) * sizes
        + _CODE_SHARE * _unit(codes[:, first:])
        + _SVD_SHARE * svd @ _turn(rest, random)
    )
    parts = (_unit(head) * (first / dim) ** 0.5, _unit(tail) * (rest / dim) ** 0.5)
    return np.hstack(parts).astype(np.float32)


def _svd(counts: sparse.csr_matrix, rarity: Matrix, dim: int, seed: int) -> NDArray[np.floating]:
    """Left singular vectors of the TF-IDF matrix, tokens by documents."""
    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * rarity[weighted.indices]
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel()) + 1e-9
    weighted = sparse.diags((1 / lengths).astype(np.float32)) @ weighted
    left, _, _ = randomized_svd(weighted.T.tocsr(), dim, n_iter=3, random_state=seed)
    # Fewer documents than dimensions give fewer vectors; the rest stays empty.
    return np.pad(np.asarray(left), ((0, 0), (0, dim - left.shape[1])))


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9))


def _turn(dim: int, random: np.random.Generator) -> NDArray[np.floating]:
    return np.asarray(np.linalg.qr(random.standard_normal((dim, dim)))[0])


@torch.no_grad()
def embedder_start(config: Qwen3Config, vectors: Matrix, rarity: Matrix) -> Qwen3ForCausalLM:
    """A model whose vector is the rarity-weighted mean of its tokens' vectors.

    Args:
        config: As many attention dimensions as hidden ones.
        vectors: `[vocabulary, hidden size - 2]`.
        rarity: `[vocabulary]`.
    """
    model = Qwen3ForCausalLM(config)
    hidden, head = int(config.hidden_size), int(config.head_dim)
    table = model.model.embed_tokens.weight
    table.normal_(0, 0.02)
    table[: len(vectors), : hidden - 2] = torch.from_numpy(vectors)
    table[:, hidden - 2] = _CONSTANT
    level = np.log(np.maximum(rarity, 1e-3))
    middle, reach = (level.max() + level.min()) / 2, (level.max() - level.min()) / 2
    height = torch.from_numpy((level - middle) / reach)
    table[:, hidden - 1] = -_CONSTANT / _FLATNESS
    table[: len(height), hidden - 1] = height * (_CONSTANT / _FLATNESS)
    # The token that closes a text carries next to nothing: just a direction for a text of nothing.
    table[len(vectors), : hidden - 2] = _NEXT_TO_NOTHING
    for number, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        layer.mlp.down_proj.weight.zero_()
        if number > 0:
            attention.o_proj.weight.zero_()
            continue
        # Anything else in them would tilt the mean: 0.02 at random turned it by 18 degrees.
        attention.q_proj.weight.zero_()
        attention.k_proj.weight.zero_()
        identity = torch.eye(hidden)
        attention.o_proj.weight.copy_(identity)
        identity[hidden - 2 :, hidden - 2 :] = 0
        attention.v_proj.weight.copy_(identity)
        # The slowest rotary pairs hardly turn within the context. Query: the constant in one of
        # them. Key: rarity there, the constant in another, so that the normalised key still knows
        # its size. Their product is nearly the logarithm of the rarity.
        one, other = head // 2 - 1, head // 2 - 2
        for start in range(0, hidden, head):
            attention.q_proj.weight[start + one, hidden - 2] = 1.0
            attention.k_proj.weight[start + one, hidden - 1] = 1.0
            attention.k_proj.weight[start + other, hidden - 2] = 1.0
        # Normalised query times key is head dimensions times the cosine, about height / flatness.
        scale = (reach * _FLATNESS / head**0.5) ** 0.5
        attention.q_norm.weight.fill_(float(scale))
        attention.k_norm.weight.fill_(float(scale))
    return model
