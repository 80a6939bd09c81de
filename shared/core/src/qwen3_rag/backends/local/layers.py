"""Qwen3's layers over a flat stream of tokens.

What concerns each row by itself runs in chunks of rows, so that intermediates stay small whatever
the batch; attention has a room of its own. Weights are those of transformers' modules, whose code
this repeats row by row. Knows tensors; knows no heads of models.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from qwen3_rag.backends.local.attention import choose
from qwen3_rag.backends.local.batching import Packing
from qwen3_rag.backends.local.linear import Linear, PlainLinear, linear

__all__ = ["Layers"]

# Rows per chunk on a CPU: intermediates that its caches hold.
CHUNK = 512

logger = logging.getLogger("qwen3_rag")


class Layers:
    """A transformers Qwen3Model, run by rows."""

    def __init__(self, trunk: Any, *, compiled: bool = False) -> None:
        """Take over a model; on a CPU its products' weights are re-ordered and leave it.

        Args:
            trunk: The model.
            compiled: Whether torch is to compile the dense halves instead, which takes a C++
                compiler and some seconds; without one this is as if it were false.
        """
        self._trunk = trunk
        self._chunk = CHUNK if trunk.device.type == "cpu" else 1 << 20
        self._before, self._after = _before, _after
        make = linear
        if compiled and (halves := _compiled(trunk)) is not None:
            self._before, self._after = halves
            make = PlainLinear
        self._layers = [_Layer(layer, make) for layer in trunk.layers]

    def last_hidden(self, packing: Packing, *, eager: bool = False) -> torch.Tensor:
        """Compute the final hidden states of each sequence's last token.

        Args:
            packing: The batch.
            eager: Whether attention does without fused kernels.

        Returns:
            `[sequences, hidden]`, after the final norm.
        """
        trunk = self._trunk
        ids, positions, last = (
            torch.from_numpy(rows).to(trunk.device)
            for rows in (packing.ids, packing.positions, packing.last)
        )
        hidden = trunk.embed_tokens(ids)
        attention = choose(packing, hidden, eager=eager)
        # float32: queries and keys are rounded after they are turned.
        like = torch.empty(0, dtype=torch.float32, device=hidden.device)
        cos, sin = (part[0, :, None] for part in trunk.rotary_emb(like, positions[None]))
        query, key, value = self._layers[0].buffers(hidden)
        # A single row would be compiled for by itself.
        single = len(hidden) == 1
        before, after = (_before, _after) if single else (self._before, self._after)
        for layer in self._layers[:-1]:
            for rows in self._chunks(hidden):
                query[rows], key[rows], value[rows] = before(
                    layer, hidden[rows], cos[rows], sin[rows]
                )
            attended = attention.all(query, key, value)
            for rows in self._chunks(hidden):
                hidden[rows] = after(layer, attended[rows].flatten(1), hidden[rows])
            del attended  # before the next one's
        # Of the last layer's rows only one per sequence is wanted, but every key and value.
        layer = self._layers[-1]
        for rows in self._chunks(hidden):
            normed = layer.attention_norm(hidden[rows])
            key[rows] = layer.key(normed, cos[rows], sin[rows])
            value[rows] = layer.value(normed)
        hidden = hidden[last]
        query = layer.query(layer.attention_norm(hidden), cos[last], sin[last]).to(key.dtype)
        attended = attention.last(query, key, value)
        result: torch.Tensor = trunk.norm(_after(layer, attended.flatten(1), hidden))
        return result

    def _chunks(self, hidden: torch.Tensor) -> Iterator[slice]:
        """Cut the rows into chunks of like size: a small one left over would cost more a row."""
        rows = len(hidden)
        size = math.ceil(rows / max(1, round(rows / self._chunk)))
        for start in range(0, rows, size):
            yield slice(start, start + size)


class _Layer:
    """One layer's weights."""

    def __init__(self, layer: Any, linear: Callable[[Any], Linear]) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._size = attention.head_dim
        self._heads = attention.config.num_attention_heads
        self._key_heads = attention.config.num_key_value_heads
        self.attention_norm = _Norm(layer.input_layernorm)
        self.mlp_norm = _Norm(layer.post_attention_layernorm)
        self._query_norm, self._key_norm = attention.q_norm, attention.k_norm
        self._query = linear(attention.q_proj)
        self._key = linear(attention.k_proj)
        self._value = linear(attention.v_proj)
        self.output = linear(attention.o_proj)
        self.gate, self.up, self.down = map(linear, (mlp.gate_proj, mlp.up_proj, mlp.down_proj))

    def buffers(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Make room for queries, keys and values of all rows."""
        query = hidden.new_empty(len(hidden), self._heads, self._size)
        key = hidden.new_empty(len(hidden), self._key_heads, self._size)
        return query, key, torch.empty_like(key)

    def query(self, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        states = self._query(normed).view(len(normed), self._heads, self._size)
        return _rotated(states, self._query_norm, cos, sin)

    def key(self, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        states = self._key(normed).view(len(normed), self._key_heads, self._size)
        return _rotated(states, self._key_norm, cos, sin)

    def value(self, normed: torch.Tensor) -> torch.Tensor:
        return self._value(normed).view(len(normed), self._key_heads, self._size)


class _Norm:
    """RMSNorm over a row."""

    def __init__(self, module: Any) -> None:
        self._weight = module.weight
        self._epsilon = module.variance_epsilon

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(rows, self._weight.shape, self._weight, self._epsilon)


def _before(
    layer: _Layer, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute queries, keys and values: the dense half before a layer's attention."""
    normed = layer.attention_norm(hidden)
    return layer.query(normed, cos, sin), layer.key(normed, cos, sin), layer.value(normed)


def _after(layer: _Layer, attended: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Go on from what attention gave: the dense half behind it."""
    hidden = layer.output.plus(attended, hidden)
    normed = layer.mlp_norm(hidden)
    inner = layer.up.times(normed, layer.gate.silu(normed))
    return layer.down.plus(inner, hidden)


def _compiled(trunk: Any) -> tuple[Any, Any] | None:
    """Compile both halves for any number of rows, and try them."""
    before = torch.compile(_before, dynamic=True)
    after = torch.compile(_after, dynamic=True)
    layer = _Layer(trunk.layers[0], PlainLinear)
    try:
        with torch.inference_mode():
            hidden = torch.zeros(3, trunk.config.hidden_size).to(trunk.embed_tokens.weight)
            angles = torch.zeros(3, 1, trunk.config.head_dim, device=trunk.device)
            # Not the same twice, or the graph is for that case alone.
            query, _, _ = before(layer, hidden, angles, angles.clone())
            after(layer, query.to(hidden.dtype).flatten(1), hidden)
    except Exception as error:  # a missing compiler, or one that fails, has many names
        reason = " ".join(str(error).split())[:200]
        logger.warning("`compile` is not used, since torch could not compile here: %s", reason)
        return None
    return before, after


def _rotated(states: torch.Tensor, norm: Any, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Normalise each head and turn it by its position, in float32."""
    states = states.float()
    length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    scale = (length.square_() / states.shape[-1]).add_(norm.variance_epsilon).rsqrt_()
    weight = norm.weight.float()
    half = states.shape[-1] // 2
    turned = torch.empty_like(states)
    left, right = states[..., :half], states[..., half:]
    torch.mul(left, cos[..., :half] * weight[:half], out=turned[..., :half])
    turned[..., :half].addcmul_(right, sin[..., :half] * weight[half:], value=-1)
    torch.mul(right, cos[..., half:] * weight[half:], out=turned[..., half:])
    turned[..., half:].addcmul_(left, sin[..., half:] * weight[:half])
    return turned.mul_(scale)
