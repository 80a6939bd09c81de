"""Qwen3's layers over a flat stream of tokens.

What concerns each row by itself runs in chunks of rows, so that intermediates stay small whatever
the batch; attention has a room of its own. Weights are those of transformers' modules, whose code
this repeats row by row. Knows tensors; knows no heads of models.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from qwen3_rag.backends._local.model.attention.choose import choose
from qwen3_rag.backends._local.model.attention.packed import room
from qwen3_rag.backends._local.model.linear import linear
from qwen3_rag.backends._local.serving.batching import Packing, filled

__all__ = ["Layers"]

# Rows per chunk on a CPU: intermediates that its caches hold.
CHUNK = 512

# There chunks are filled up to multiples of up to so many rows: oneDNN keeps some 0.7 MB for every
# shape of a product that it meets, up to a thousand times.
GRAIN = 32

logger = logging.getLogger("qwen3_rag")


class Layers:
    """A transformers Qwen3Model, run by rows."""

    def __init__(self, trunk: Any, *, compiled: bool = False) -> None:
        """Take over a model; on a CPU its products' weights are re-ordered and leave it.

        Args:
            trunk: The model.
            compiled: Whether torch is to compile what lies between the products, which takes a C++
                compiler and some seconds; without one this is as if it were false.
        """
        self._trunk = trunk
        self._chunk = CHUNK if trunk.device.type == "cpu" else 1 << 20
        between = (_compiled(trunk) if compiled else None) or _Between(_normed, _rotated)
        self._layers = [_Layer(layer, between) for layer in trunk.layers]

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
        stream = self._stream(packing, known, eager=eager)
        for index in range(len(self._layers) - 1):
            self._whole(index, stream)
        # Of the last layer's rows only one per sequence is wanted, but every key and value.
        layer = self._keys(len(self._layers) - 1, stream)
        last = torch.from_numpy(packing.last).to(stream.hidden.device)
        sequences = len(last)
        last = functional.pad(last, (0, self._filled(sequences) - sequences))
        hidden = stream.hidden[last]
        query = layer.query(layer.attention_norm(hidden), stream.cos[last], stream.sin[last])
        query = query.to(hidden.dtype).view(-1, *stream.query.shape[1:])
        attended = hidden.new_zeros(query.shape)
        attended[:sequences] = stream.attention.last(query[:sequences], stream.key, stream.value)
        result: torch.Tensor = self._trunk.norm(layer.after(attended.flatten(1), hidden))
        return result[:sequences]

    def states(self, packing: Packing, *, eager: bool = False) -> torch.Tensor:
        """Compute every row's keys and values, `[layers, 2, rows, key heads, size]`."""
        stream = self._stream(packing, None, eager=eager)
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
        layer = self._keys(index, stream, queries=True)
        attended = stream.attention.all(stream.query, stream.key, stream.value)
        for rows in self._chunks(stream):
            stream.hidden[rows] = layer.after(attended[rows].flatten(1), stream.hidden[rows])

    def _keys(self, index: int, stream: _Stream, *, queries: bool = False) -> _Layer:
        """Compute a layer's keys and values, and its queries where they are wanted."""
        layer = self._layers[index]
        stream.recall(index)
        for rows in self._chunks(stream):
            normed = layer.attention_norm(stream.hidden[rows])
            cos, sin = stream.cos[rows], stream.sin[rows]
            if queries:
                query = layer.query(normed, cos, sin)
                stream.query[rows] = query.view(-1, *stream.query.shape[1:])
            stream.key[rows] = layer.key(normed, cos, sin)
            stream.value[rows] = layer.value(normed)
        return layer

    def _stream(self, packing: Packing, known: torch.Tensor | None, *, eager: bool) -> _Stream:
        first = 0 if known is None else known.shape[2]
        rows = first + self._filled(len(packing.ids) - first)
        return _Stream(self._trunk, self._layers[0], packing, known, rows, eager=eager)

    def _filled(self, rows: int) -> int:
        return filled(rows, coarsest=GRAIN) if self._trunk.device.type == "cpu" else rows

    def _chunks(self, stream: _Stream) -> Iterator[slice]:
        return chunks(stream.start, len(stream.hidden), self._chunk)


def chunks(start: int, stop: int, size: int) -> Iterator[slice]:
    """Cut rows into chunks of like size: a small one left over would cost more a row."""
    rows = stop - start
    step = math.ceil(rows / max(1, round(rows / size)) / GRAIN) * GRAIN
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


class _Stream:
    """The rows of one batch on their way through the layers, and what they are filled up with."""

    def __init__(
        self,
        trunk: Any,
        layer: _Layer,
        packing: Packing,
        known: torch.Tensor | None,
        rows: int,
        *,
        eager: bool,
    ) -> None:
        ids, positions = (
            functional.pad(torch.from_numpy(each), (0, rows - len(each))).to(trunk.device)
            for each in (packing.ids, packing.positions)
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

    def __init__(self, layer: Any, between: _Between) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._size = attention.head_dim
        self._heads = attention.config.num_attention_heads
        self._key_heads = attention.config.num_key_value_heads
        self.attention_norm = _Norm(layer.input_layernorm, between)
        self._mlp_norm = _Norm(layer.post_attention_layernorm, between)
        self._query_norm, self._key_norm = attention.q_norm, attention.k_norm
        self._rotated = between.rotated
        self._query = linear(attention.q_proj)
        self._key = linear(attention.k_proj)
        self._value = linear(attention.v_proj)
        self._output = linear(attention.o_proj)
        self._gate, self._up = linear(mlp.gate_proj), linear(mlp.up_proj)
        self._down = linear(mlp.down_proj)

    def buffers(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Make room for queries, keys and values of all rows."""
        sharing = self._heads // self._key_heads
        query = room(hidden, self._key_heads, sharing, self._size)
        key = room(hidden, self._key_heads, self._size)
        return query, key, torch.empty_like(key)

    def query(self, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        states = self._query(normed).view(len(normed), self._heads, self._size)
        norm = self._query_norm
        return self._rotated(states, norm.weight, norm.variance_epsilon, cos, sin)

    def key(self, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        states = self._key(normed).view(len(normed), self._key_heads, self._size)
        norm = self._key_norm
        return self._rotated(states, norm.weight, norm.variance_epsilon, cos, sin)

    def value(self, normed: torch.Tensor) -> torch.Tensor:
        return self._value(normed).view(len(normed), self._key_heads, self._size)

    def after(self, attended: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Go on from what attention gave."""
        hidden = self._output.plus(attended, hidden)
        normed = self._mlp_norm(hidden)
        inner = self._up.times(normed, self._gate.silu(normed))
        return self._down.plus(inner, hidden)


class _Norm:
    """RMSNorm over a row."""

    def __init__(self, module: Any, between: _Between) -> None:
        self._weight = module.weight
        self._epsilon = module.variance_epsilon
        self._normed = between.normed

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return self._normed(rows, self._weight, self._epsilon)


class _Between(NamedTuple):
    """What is computed between the products, element by element."""

    normed: Callable[..., torch.Tensor]
    rotated: Callable[..., torch.Tensor]


def _normed(rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Normalise by the root of the mean square."""
    return functional.rms_norm(rows, weight.shape, weight, epsilon)


def _rotated(
    states: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> torch.Tensor:
    """Normalise each head and turn it by its position, in float32."""
    states = states.float()
    length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    states = states * (length.square() / states.shape[-1] + epsilon).rsqrt()
    # The norm's weights ride on the angles, which are the same for all heads.
    weight, half = weight.float(), states.shape[-1] // 2
    sin = sin * weight.roll(half)
    turned: torch.Tensor = states * (cos * weight)
    turned[..., :half].addcmul_(states[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(states[..., :half], sin[..., half:])
    return turned


def _compiled(trunk: Any) -> _Between | None:
    """Compile for any number of rows, and check the results against the plain functions'."""

    def rotated(states: torch.Tensor, *others: Any) -> torch.Tensor:
        return _rotated(states, *others).to(states.dtype)  # in the same pass

    # Torch looks its compiled code up by these options, but not by the size of vectors: code kept
    # from another processor, or other settings, would leave half of the numbers unwritten.
    bits = {"AVX512": 512, "AVX2": 256, "DEFAULT": 0}.get(torch.backends.cpu.get_cpu_capability())
    options: dict[str, Any] | None = None if bits is None else {"cpp.simdlen": bits}

    def unless_single(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        compiled = torch.compile(plain, options=options)

        def call(rows: torch.Tensor, *others: Any) -> torch.Tensor:
            # A single row would be compiled for by itself.
            result: torch.Tensor = (plain if len(rows) == 1 else compiled)(rows, *others)
            return result

        return call

    def check(
        compiled: Callable[..., torch.Tensor], plain: Callable[..., torch.Tensor], *given: Any
    ) -> None:
        expected = plain(*given)  # first: in memory that it gave back, the result could be left
        tolerance = 1e-4 if expected.dtype == torch.float32 else 2e-2
        torch.testing.assert_close(compiled(*given), expected, rtol=tolerance, atol=tolerance)

    layer, config = trunk.layers[0], trunk.config
    epsilon = layer.self_attn.q_norm.variance_epsilon
    norms = layer.input_layernorm.weight, layer.self_attn.q_norm.weight
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(trunk.device)

    try:
        between = _Between(unless_single(_normed), unless_single(rotated))
        with torch.inference_mode():
            # What differs from call to call, torch takes for variable: rows, heads, where in a
            # tensor they begin.
            for rows in (3, 5, 7):
                hidden = trunk.embed_tokens(torch.arange(rows).to(trunk.device))
                cos, sin = random(rows, 1, config.head_dim), random(rows, 1, config.head_dim)
                for some in (slice(rows), slice(rows - 2, rows)):
                    check(between.normed, _normed, hidden[some], norms[0], epsilon)
                    for heads in (config.num_attention_heads, config.num_key_value_heads):
                        states = random(len(cos[some]), heads, config.head_dim).to(hidden.dtype)
                        angles = cos[some], sin[some]
                        check(between.rotated, rotated, states, norms[1], epsilon, *angles)
    except Exception as error:  # a missing compiler, or one that fails, has many names
        reason = " ".join(str(error).split())[:200]
        failed = "compiled wrongly" if isinstance(error, AssertionError) else "could not compile"
        logger.warning("`compile` is not used, since torch %s here: %s", failed, reason)
        return None
    return between
