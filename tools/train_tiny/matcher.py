"""The reranker's initial weights: three layers that match the query's words in the document.

In layer 1, each token learns which segment it is in and which token precedes it. In layer 2,
document tokens attend to the same token in the query. In layer 3, the last token attends to the
matched tokens, weighted by IDF. Training starts from these weights, because a model this small does
not learn matching from so little text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM

from qwen3_rag.errors import ModelError

__all__ = ["RERANKER_LAYERS", "reranker_start"]

Matrix = NDArray[np.float32]

RERANKER_LAYERS = 3

# Each of the last dimensions of the residual stream has one meaning; the others hold the token.
_PLACES = 8
_CONSTANT, _IDF, _MARKS_QUERY, _MARKS_DOCUMENT = -8, -7, -6, -5
_IN_QUERY, _IN_DOCUMENT, _MATCHED, _ANSWER = -4, -3, -2, -1

_LEVEL = 0.5  # size of the constant and of the markers; token vectors have length 1
_SEGMENT = 0.7  # size of a segment's flag
_PREVIOUS = 0.1  # share of the preceding token's vector
_QUERY_BONUS = 0.1  # added to the keys of query tokens in layer 2
_FAST_PAIRS = 6  # rotary pairs that distinguish the preceding token from its neighbours

# These tokens mark the segments. Without a preceding space they occur only in `<Query>:` and
# `<Document>:`, and in text that starts a line with them.
_QUERY_MARK, _DOCUMENT_MARK = "Query", "Document"


@torch.no_grad()
def reranker_start(
    config: Qwen3Config, tokenizer: Tokenizer, vectors: Matrix, idf: Matrix, seed: int
) -> Qwen3ForCausalLM:
    """Build a reranker that matches words.

    Args:
        config: Three layers; as many key-value heads as query heads, at least three.
        tokenizer: The tokenizer without control tokens.
        vectors: Unit token vectors `[vocabulary, any size]`; rotated at random, then cut.
        idf: IDF `[vocabulary]`.
        seed: Seed of the weights that stay random.

    Raises:
        ModelError: The tokenizer splits the words that mark the segments.
    """
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    _fill_table(model.model.embed_tokens.weight, tokenizer, vectors, idf)
    hidden, head = int(config.hidden_size), int(config.head_dim)
    for layer in model.model.layers:
        for weight in layer.self_attn.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.02)
        layer.self_attn.o_proj.weight.normal_(0, 0.002)
        layer.mlp.down_proj.weight.normal_(0, 0.002)
    # The factor by which RMSNorm lengthens the residual stream, on average.
    gain = hidden**0.5 / (1 + _LEVEL**2) ** 0.5
    first, second, third = (layer.self_attn for layer in model.model.layers)
    _find_segments(first, 0, head, gain)
    base: Any = config.rope_parameters
    _fetch_previous(first, 1, head, hidden, gain, float(base["rope_theta"]))
    _match(second, (0, 1), head, hidden, gain)
    _weigh(third, 0, head, gain)
    return model


def _fill_table(table: Tensor, tokenizer: Tokenizer, vectors: Matrix, idf: Matrix) -> None:
    count, hidden = len(vectors), table.shape[1]
    table.normal_(0, 0.05)
    table[:, hidden - _PLACES :] = 0
    rotation = torch.linalg.qr(torch.randn(vectors.shape[1], vectors.shape[1]))[0]
    cut = torch.from_numpy(vectors) @ rotation[:, : hidden - _PLACES]
    table[:count, : hidden - _PLACES] = functional.normalize(cut, dim=-1)
    table[:, _CONSTANT] = _LEVEL
    level = np.log(np.maximum(idf, 1e-3))
    middle, reach = (level.max() + level.min()) / 2, (level.max() - level.min()) / 2
    table[:, _IDF] = -_LEVEL
    table[:count, _IDF] = torch.from_numpy((level - middle) / reach) * _LEVEL
    for word, place in ((_QUERY_MARK, _MARKS_QUERY), (_DOCUMENT_MARK, _MARKS_DOCUMENT)):
        table[_single(tokenizer, word), place] = 2 * _LEVEL
    table[_single(tokenizer, "yes"), _ANSWER] = _LEVEL
    table[_single(tokenizer, "no"), _ANSWER] = -_LEVEL


def _single(tokenizer: Tokenizer, word: str) -> int:
    # The marker follows "<" or a line break, never a space; "<" and the marker are two tokens.
    ids = tokenizer.encode(f"<{word}>", add_special_tokens=False).ids if word[0].isupper() else []
    ids = ids or tokenizer.encode(word, add_special_tokens=False).ids
    found = [token for token in ids if tokenizer.decode([token]) in (word, f"<{word}")]
    if not found:
        raise ModelError(f"The tokenizer splits {word!r}. Show it the prompts more often.")
    return int(found[0])


def _slow(head: int) -> tuple[int, int]:
    """Return two dimensions of a head that RoPE hardly rotates within the context."""
    return head // 2 - 1, head // 2 - 2


def _clear(attention: Any, number: int, head: int) -> slice:
    rows = slice(number * head, (number + 1) * head)
    attention.q_proj.weight[rows] = 0
    attention.k_proj.weight[rows] = 0
    attention.v_proj.weight[rows] = 0
    attention.o_proj.weight[:, rows] = 0
    return rows


def _find_segments(attention: Any, number: int, head: int, gain: float) -> None:
    """Attend to the markers so far, and set the flag of each segment that has begun."""
    start = _clear(attention, number, head).start
    one, other = _slow(head)
    attention.q_proj.weight[start + one, _CONSTANT] = 1
    attention.k_proj.weight[start + other, _CONSTANT] = 0.3
    for place, flag, row in (
        (_MARKS_QUERY, _IN_QUERY, 0),
        (_MARKS_DOCUMENT, _IN_DOCUMENT, 1),
    ):
        attention.k_proj.weight[start + one, place] = 1
        attention.v_proj.weight[start + row, place] = 1
        attention.o_proj.weight[flag, start + row] = _SEGMENT / (gain * 2 * _LEVEL * 0.8)
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[[one, other]] = 1.3


def _fetch_previous(
    attention: Any, number: int, head: int, hidden: int, gain: float, base: float
) -> None:
    """Attend to the preceding position, by RoPE angles alone, and copy its token."""
    rows = _clear(attention, number, head)
    start, half = rows.start, head // 2
    for pair in range(_FAST_PAIRS):
        angle = base ** (-pair / half)
        attention.q_proj.weight[start + pair, _CONSTANT] = 1
        attention.k_proj.weight[start + pair, _CONSTANT] = np.cos(angle)
        attention.k_proj.weight[start + half + pair, _CONSTANT] = np.sin(angle)
        for norm in (attention.q_norm, attention.k_norm):
            norm.weight[[pair, half + pair]] = 2.2
    tokens = hidden - _PLACES
    attention.v_proj.weight[start : start + tokens, :tokens] = torch.eye(tokens)
    rotation = torch.linalg.qr(torch.randn(tokens, tokens))[0]
    attention.o_proj.weight[:tokens, start : start + tokens] = rotation * (_PREVIOUS / gain)


def _match(attention: Any, numbers: tuple[int, ...], head: int, hidden: int, gain: float) -> None:
    """Attend to earlier occurrences of the same token, and record whether they are in the query.

    A token attends to itself and to all its earlier occurrences, with a small bonus for those in
    the query. So the attention to the query is highest at the token's first occurrence in the
    document and falls with each repetition: term frequency saturates, as in BM25.
    """
    tokens, half = hidden - _PLACES, head // 2
    one, _ = _slow(head)
    slow = [place for place in (*range(half // 2, half), *range(half + half // 2, head))]
    slow = [place for place in slow if place != one]
    for number in numbers:
        start = _clear(attention, number, head).start
        basis = torch.linalg.qr(torch.randn(tokens, len(slow)))[0].T
        share = (tokens / len(slow)) ** 0.5
        for row, place in zip(basis, slow, strict=True):
            attention.q_proj.weight[start + place, :tokens] = row * share
            attention.k_proj.weight[start + place, :tokens] = row * share
        attention.q_proj.weight[start + one, _CONSTANT] = 1.3 / _LEVEL
        attention.k_proj.weight[start + one, _IN_QUERY] = _QUERY_BONUS / _SEGMENT
        attention.v_proj.weight[start, _IN_QUERY] = 1
        attention.v_proj.weight[start, _IN_DOCUMENT] = -1
        attention.o_proj.weight[_MATCHED, start] = 1 / (len(numbers) * gain * _SEGMENT)
    attention.q_norm.weight.fill_(2.0)
    attention.k_norm.weight.fill_(2.0)


def _weigh(attention: Any, number: int, head: int, gain: float) -> None:
    """Attend to matched tokens, most to rare ones, and record the share in the document."""
    start = _clear(attention, number, head).start
    one, other = _slow(head)
    attention.q_proj.weight[start + one, _CONSTANT] = 1
    attention.k_proj.weight[start + one, _MATCHED] = 1
    attention.k_proj.weight[start + one, _IDF] = 0.4
    attention.k_proj.weight[start + other, _CONSTANT] = 2 / _LEVEL
    attention.v_proj.weight[start, _IN_DOCUMENT] = 2 / _SEGMENT
    attention.v_proj.weight[start, _CONSTANT] = -0.4 / _LEVEL
    attention.o_proj.weight[_ANSWER, start] = 4 / gain
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight[[one, other]] = 1.5
