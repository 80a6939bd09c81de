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

from qwen3_rag.backends.local.attention import choose, room
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

    def last_hidden(
        self, packing: Packing, known: torch.Tensor | None = None, *, eager: bool = False
    ) -> torch.Tensor:
        """Compute the final hidden states of each sequence's last token.

        Args:
            packing: The batch.
            known: The states of its prefixes, `[layers, 2, rows, key heads, size]`, if they have
                been computed.
            eager: Whether attention does without fused kernels.

        Returns:
            `[sequences, hidden]`, after the final norm.
        """
        stream = _Stream(self._trunk, self._layers[0], packing, known, eager=eager)
        for index in range(len(self._layers) - 1):
            self._whole(index, stream)
        # Of the last layer's rows only one per sequence is wanted, but every key and value.
        layer = self._keys(len(self._layers) - 1, stream)
        last = torch.from_numpy(packing.last).to(stream.hidden.device)
        hidden, cos, sin = stream.hidden[last], stream.cos[last], stream.sin[last]
        query = layer.query(layer.attention_norm(hidden), cos, sin).to(stream.key.dtype)
        query = query.view(-1, *stream.query.shape[1:])
        attended = stream.attention.last(query, stream.key, stream.value)
        result: torch.Tensor = self._trunk.norm(_after(layer, attended.flatten(1), hidden))
        return result

    def states(self, packing: Packing, *, eager: bool = False) -> torch.Tensor:
        """Compute every row's keys and values, `[layers, 2, rows, key heads, size]`."""
        stream = _Stream(self._trunk, self._layers[0], packing, None, eager=eager)
        states = stream.key.new_empty(len(self._layers), 2, *stream.key.shape)
        for index in range(len(self._layers)):
            if index < len(self._layers) - 1:
                self._whole(index, stream)
            else:
                self._keys(index, stream)
            states[index, 0], states[index, 1] = stream.key, stream.value
        return states

    def _whole(self, index: int, stream: _Stream) -> None:
        """Run a layer on all rows."""
        layer = self._layers[index]
        # A single row would be compiled for by itself.
        single = len(stream.hidden) - stream.start == 1
        before, after = (_before, _after) if single else (self._before, self._after)
        hidden, cos, sin = stream.hidden, stream.cos, stream.sin
        stream.recall(index)
        for rows in self._chunks(stream):
            query, key, value = before(layer, hidden[rows], cos[rows], sin[rows])
            stream.query[rows] = query.view(-1, *stream.query.shape[1:])
            stream.key[rows], stream.value[rows] = key, value
        attended = stream.attention.all(stream.query, stream.key, stream.value)
        for rows in self._chunks(stream):
            hidden[rows] = after(layer, attended[rows].flatten(1), hidden[rows])

    def _keys(self, index: int, stream: _Stream) -> _Layer:
        """Compute a layer's keys and values alone."""
        layer = self._layers[index]
        stream.recall(index)
        for rows in self._chunks(stream):
            normed = layer.attention_norm(stream.hidden[rows])
            stream.key[rows] = layer.key(normed, stream.cos[rows], stream.sin[rows])
            stream.value[rows] = layer.value(normed)
        return layer

    def _chunks(self, stream: _Stream) -> Iterator[slice]:
        return chunks(stream.start, len(stream.hidden), self._chunk)


def chunks(start: int, stop: int, size: int) -> Iterator[slice]:
    """Cut rows into chunks of like size: a small one left over would cost more a row."""
    rows = stop - start
    step = math.ceil(rows / max(1, round(rows / size)))
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


class _Stream:
    """The rows of one batch on their way through the layers."""

    def __init__(
        self,
        trunk: Any,
        layer: _Layer,
        packing: Packing,
        known: torch.Tensor | None,
        *,
        eager: bool,
    ) -> None:
        ids, positions = (
            torch.from_numpy(rows).to(trunk.device) for rows in (packing.ids, packing.positions)
        )
        self.hidden: torch.Tensor = trunk.embed_tokens(ids)
        # float32: queries and keys are rounded after they are turned.
        like = torch.empty(0, dtype=torch.float32, device=self.hidden.device)
        self.cos, self.sin = (part[0, :, None] for part in trunk.rotary_emb(like, positions[None]))
        self.query, self.key, self.value = layer.buffers(self.hidden)
        self._known = known
        self.start = 0 if known is None else known.shape[2]  # the first row to compute
        self.attention = choose(packing, self.hidden, self.start, eager=eager)

    def recall(self, index: int) -> None:
        """Fill in what is known of a layer's keys and values."""
        if self._known is not None:
            self.key[: self.start], self.value[: self.start] = self._known[index]


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
        sharing = self._heads // self._key_heads
        query = room(hidden, self._key_heads, sharing, self._size)
        key = room(hidden, self._key_heads, self._size)
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
    states *= (length.square_() / states.shape[-1]).add_(norm.variance_epsilon).rsqrt_()
    # The norm's weights ride on the angles, which are the same for all heads.
    weight, half = norm.weight.float(), states.shape[-1] // 2
    sin = sin * weight.roll(half)
    turned: torch.Tensor = states * (cos * weight)
    turned[..., :half].addcmul_(states[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(states[..., :half], sin[..., half:])
    return turned
