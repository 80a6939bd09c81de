"""Qwen3's layers over a flat stream of tokens, without padding.

The weights and the arithmetic are those of transformers' modules. Row-wise operations run on chunks
of rows, so that intermediate results stay small for any batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from qwen3_rag.backends._local.model.attention.choose import Attention, choose_attention
from qwen3_rag.backends._local.model.attention.matmul import PAD_MULTIPLE, alloc_states
from qwen3_rag.backends._local.model.linear import linear
from qwen3_rag.backends._local.serving.batching import Packing, round_up

__all__ = ["Layers"]

# Rows per chunk on a CPU, chosen so that intermediate results fit in its caches.
CHUNK_ROWS = 512

logger = logging.getLogger("qwen3_rag")


class Layers:
    """The layers of a transformers `Qwen3Model`."""

    def __init__(self, trunk: Any, *, eager: bool = False, compiled: bool = False) -> None:
        """Set up a model. On a CPU, its weights are reordered and removed from its modules.

        Args:
            trunk: The model.
            eager: Whether attention uses plain products instead of fused kernels.
            compiled: Whether torch compiles the element-wise operations, which takes seconds and a
                C++ compiler; ignored with a warning if that fails.
        """
        on_cpu = trunk.device.type == "cpu"
        self._trunk = trunk
        self._chunk_rows = CHUNK_ROWS if on_cpu else 1 << 20
        # oneDNN keeps 0.7 MB for each shape of a product, for up to a thousand shapes.
        self._pad_multiple = PAD_MULTIPLE if on_cpu else 1
        elementwise = (_compile(trunk) if compiled else None) or _Elementwise(_rms_norm, _rotate)
        self._layers = [_Layer(layer, elementwise) for layer in trunk.layers]
        self.set_attention(eager=eager)

    def set_attention(self, *, eager: bool) -> None:
        """Choose the attention implementation."""
        trunk = self._trunk
        self._make_attention = choose_attention(trunk.device, trunk.dtype, eager=eager)

    def last_hidden(self, packing: Packing, known: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the final hidden state of each sequence's last token.

        Args:
            packing: The batch.
            known: Keys and values of its prefixes, if already computed: the result of
                `keys_and_values` for the rows of the prefixes.

        Returns:
            `[sequences, hidden]`, after the final norm.
        """
        stream = self._start(packing, known)
        for index in range(len(self._layers) - 1):
            self._run_layer(index, stream)
        # The last layer needs the keys and values of all rows, but one query per sequence.
        layer = self._project(len(self._layers) - 1, stream)
        last = torch.from_numpy(packing.last).to(stream.hidden.device)
        sequences = len(last)
        padding = round_up(sequences, coarsest=self._pad_multiple) - sequences
        last = functional.pad(last, (0, padding))
        hidden = stream.hidden[last]
        query = layer.query(layer.attention_norm(hidden), stream.cos[last], stream.sin[last])
        query = query.to(hidden.dtype).view(-1, *stream.query.shape[1:])
        attended = hidden.new_zeros(query.shape)
        attended[:sequences] = stream.attention.last(query[:sequences], stream.key, stream.value)
        result: torch.Tensor = self._trunk.norm(layer.output(attended.flatten(1), hidden))
        return result[:sequences]

    def keys_and_values(self, packing: Packing) -> torch.Tensor:
        """Compute the keys and values of all rows, `[layers, 2, rows, key heads, size]`."""
        stream = self._start(packing, None)
        states = stream.key.new_empty(len(self._layers), 2, *stream.key.shape)
        for index in range(len(self._layers)):
            if index < len(self._layers) - 1:
                self._run_layer(index, stream)
            else:
                self._project(index, stream)
            states[index, 0], states[index, 1] = stream.key, stream.value
        return states

    def _start(self, packing: Packing, known: torch.Tensor | None) -> _Stream:
        """Embed the tokens of a batch and allocate its states."""
        trunk = self._trunk
        tokens = len(packing.ids)
        first = 0 if known is None else known.shape[2]
        rows = first + round_up(tokens - first, coarsest=self._pad_multiple)
        padding = (0, rows - tokens)
        ids = functional.pad(torch.from_numpy(packing.ids), padding).to(trunk.device)
        positions = functional.pad(torch.from_numpy(packing.positions), padding).to(trunk.device)
        hidden: torch.Tensor = trunk.embed_tokens(ids)
        # float32, since queries and keys are rounded after the rotation.
        like = torch.empty(0, dtype=torch.float32, device=hidden.device)
        cos, sin = trunk.rotary_emb(like, positions[None])
        layer = self._layers[0]
        key = alloc_states(hidden, layer.key_heads, layer.size)
        return _Stream(
            hidden=hidden,
            cos=cos[0, :, None],
            sin=sin[0, :, None],
            query=alloc_states(hidden, layer.key_heads, layer.heads // layer.key_heads, layer.size),
            key=key,
            value=torch.empty_like(key),
            known=known,
            chunks=list(chunks(first, rows, self._chunk_rows)),
            attention=self._make_attention(packing, first),
        )

    def _run_layer(self, index: int, stream: _Stream) -> None:
        """Run a layer on all rows."""
        layer = self._project(index, stream, queries=True)
        attended = stream.attention.all(stream.query, stream.key, stream.value)
        for rows in stream.chunks:
            stream.hidden[rows] = layer.output(attended[rows].flatten(1), stream.hidden[rows])

    def _project(self, index: int, stream: _Stream, *, queries: bool = False) -> _Layer:
        """Compute a layer's keys and values, and its queries if they are wanted."""
        layer = self._layers[index]
        if stream.known is not None:
            rows = slice(stream.known.shape[2])
            stream.key[rows], stream.value[rows] = stream.known[index]
        for rows in stream.chunks:
            normed = layer.attention_norm(stream.hidden[rows])
            cos, sin = stream.cos[rows], stream.sin[rows]
            if queries:
                query = layer.query(normed, cos, sin)
                stream.query[rows] = query.view(-1, *stream.query.shape[1:])
            stream.key[rows] = layer.key(normed, cos, sin)
            stream.value[rows] = layer.value(normed)
        return layer


def chunks(start: int, stop: int, size: int) -> Iterator[slice]:
    """Cut rows into chunks of similar size; a small last chunk would cost more per row."""
    rows = stop - start
    step = math.ceil(rows / max(1, round(rows / size)) / PAD_MULTIPLE) * PAD_MULTIPLE
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


@dataclass(eq=False)
class _Stream:
    """The states of one batch, including padding, as they pass through the layers."""

    hidden: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    known: torch.Tensor | None  # keys and values of the first rows, which are not computed again
    chunks: list[slice]  # the rows to compute
    attention: Attention


class _Layer:
    """The weights of one layer."""

    def __init__(self, layer: Any, elementwise: _Elementwise) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.size = attention.head_dim
        self.heads = attention.config.num_attention_heads
        self.key_heads = attention.config.num_key_value_heads
        self.attention_norm = _bind(elementwise.rms_norm, layer.input_layernorm)
        self._mlp_norm = _bind(elementwise.rms_norm, layer.post_attention_layernorm)
        self._rotate_query = _bind(elementwise.rotate, attention.q_norm)
        self._rotate_key = _bind(elementwise.rotate, attention.k_norm)
        self._query = linear(attention.q_proj)
        self._key = linear(attention.k_proj)
        self._value = linear(attention.v_proj)
        self._output = linear(attention.o_proj)
        self._gate, self._up = linear(mlp.gate_proj), linear(mlp.up_proj)
        self._down = linear(mlp.down_proj)

    def query(self, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        states = self._query(normed).view(len(normed), self.heads, self.size)
        return self._rotate_query(states, cos, sin)

    def key(self, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        states = self._key(normed).view(len(normed), self.key_heads, self.size)
        return self._rotate_key(states, cos, sin)

    def value(self, normed: torch.Tensor) -> torch.Tensor:
        return self._value(normed).view(len(normed), self.key_heads, self.size)

    def output(self, attended: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Output projection, residual and MLP."""
        hidden = self._output.linear_add(attended, hidden)
        normed = self._mlp_norm(hidden)
        inner = self._up.linear_mul(normed, self._gate.linear_silu(normed))
        return self._down.linear_add(inner, hidden)


class _Elementwise(NamedTuple):
    """The operations between the products; each takes a norm's weight and epsilon first."""

    rms_norm: Callable[..., torch.Tensor]
    rotate: Callable[..., torch.Tensor]


def _bind(operation: Callable[..., torch.Tensor], norm: Any) -> Callable[..., torch.Tensor]:
    return partial(operation, norm.weight, norm.variance_epsilon)


def _rms_norm(weight: torch.Tensor, epsilon: float, rows: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(rows, weight.shape, weight, epsilon)


def _rotate(
    weight: torch.Tensor,
    epsilon: float,
    states: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> torch.Tensor:
    """Apply RMSNorm to each head and rotate it by its position, in float32."""
    states = states.float()
    length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    states = states * (length.square() / states.shape[-1] + epsilon).rsqrt()
    # The norm's weights are multiplied into the angles, which are the same for all heads.
    weight, half = weight.float(), states.shape[-1] // 2
    sin = sin * weight.roll(half)
    rotated: torch.Tensor = states * (cos * weight)
    rotated[..., :half].addcmul_(states[..., half:], sin[..., :half], value=-1)
    rotated[..., half:].addcmul_(states[..., :half], sin[..., half:])
    return rotated


def _compile(trunk: Any) -> _Elementwise | None:
    """Compile for any number of rows, and check the results against the plain functions'."""

    def rotate_and_round(
        weight: torch.Tensor, epsilon: float, states: torch.Tensor, *angles: torch.Tensor
    ) -> torch.Tensor:
        return _rotate(weight, epsilon, states, *angles).to(states.dtype)  # in one pass

    # Torch's cache of compiled code ignores the vector size, so that code for another processor,
    # or for other settings, could be reused here and leave half of the results unwritten.
    bits = {"AVX512": 512, "AVX2": 256, "DEFAULT": 0}.get(torch.backends.cpu.get_cpu_capability())
    options: dict[str, Any] | None = None if bits is None else {"cpp.simdlen": bits}

    def compile_any(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        compiled = torch.compile(plain, options=options)

        def call(
            weight: torch.Tensor, epsilon: float, rows: torch.Tensor, *angles: torch.Tensor
        ) -> torch.Tensor:
            # For a single row, torch would compile a special case.
            function = plain if len(rows) == 1 else compiled
            result: torch.Tensor = function(weight, epsilon, rows, *angles)
            return result

        return call

    def check(
        compiled: Callable[..., torch.Tensor], plain: Callable[..., torch.Tensor], *given: Any
    ) -> None:
        # Compute the plain result first and keep it. If its memory had been freed, the compiled
        # code could reuse it, and values that it fails to write would look right.
        expected = plain(*given)
        tolerance = 1e-4 if expected.dtype == torch.float32 else 2e-2
        torch.testing.assert_close(compiled(*given), expected, rtol=tolerance, atol=tolerance)

    layer, config = trunk.layers[0], trunk.config
    epsilon = layer.self_attn.q_norm.variance_epsilon
    norms = layer.input_layernorm.weight, layer.self_attn.q_norm.weight
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(trunk.device)

    try:
        elementwise = _Elementwise(compile_any(_rms_norm), compile_any(rotate_and_round))
        with torch.inference_mode():
            # Torch generalises over what differs between these calls: rows, heads, and their offset
            # in a tensor.
            for rows in (3, 5, 7):
                hidden = trunk.embed_tokens(torch.arange(rows).to(trunk.device))
                cos, sin = random(rows, 1, config.head_dim), random(rows, 1, config.head_dim)
                for some in (slice(rows), slice(rows - 2, rows)):
                    check(elementwise.rms_norm, _rms_norm, norms[0], epsilon, hidden[some])
                    for heads in (config.num_attention_heads, config.num_key_value_heads):
                        states = random(len(cos[some]), heads, config.head_dim).to(hidden.dtype)
                        given = norms[1], epsilon, states, cos[some], sin[some]
                        check(elementwise.rotate, rotate_and_round, *given)
    except Exception as error:  # a missing or failing compiler raises errors of many classes
        reason = " ".join(str(error).split())[:200]
        failed = "compiled wrongly" if isinstance(error, AssertionError) else "could not compile"
        logger.warning("`compile` is not used, since torch %s here: %s", failed, reason)
        return None
    return elementwise
