"""The implementations: qwen3-rag, sentence-transformers, the model card's script and OpenVINO.

All run the same checkpoint on the same device, in the same number format and with the same texts.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from benchmarks.engine.timing import QWEN3_RAG, Side
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import RerankPrompt, Role

__all__ = [
    "Setup",
    "card",
    "openvino",
    "qwen3_rag_embedding",
    "qwen3_rag_reranking",
    "sentence_transformers",
]

SWEEP = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Setup:
    """Settings of a comparison.

    Attributes:
        device: Torch device.
        dtype: Number format.
        compile: Whether qwen3-rag runs with `compile=True`.
        peer_attention: Attention implementation of the peers; transformers' default if `None`.
        sweep_layers: Number of layers with which the peers' best batch size is found.
    """

    device: str
    dtype: str
    compile: bool
    peer_attention: str | None
    sweep_layers: int

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `Qwen3Embedder` and `Qwen3Reranker`."""
        settings: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        return {**settings, "compile": True} if self.compile else settings

    @property
    def transformers_options(self) -> dict[str, Any]:
        """Arguments of transformers' `from_pretrained`."""
        settings: dict[str, Any] = {"dtype": getattr(torch, self.dtype)}
        if self.peer_attention:
            settings["attn_implementation"] = self.peer_attention
        return settings


def qwen3_rag_embedding(folder: Path, setup: Setup, *, max_length: int | None = None) -> Side:
    """Make a `Qwen3Embedder`."""
    embedder = Qwen3Embedder(str(folder), max_length=max_length, **setup.options)
    return Side(QWEN3_RAG, lambda texts, _: embedder.embed_documents(texts))


def qwen3_rag_reranking(folder: Path, setup: Setup) -> Side:
    """Make a `Qwen3Reranker`; scores are in the order of the pairs."""
    reranker = Qwen3Reranker(str(folder), **setup.options)
    return Side(QWEN3_RAG, lambda pairs, _: np.asarray(reranker.score(pairs)))


def sentence_transformers(folder: Path, setup: Setup, role: Role = "embedding") -> Side:
    """Make a `SentenceTransformer`, or a `CrossEncoder` with the same prompt as qwen3-rag."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    settings: dict[str, Any] = {"device": setup.device, "model_kwargs": setup.transformers_options}
    if role == "embedding":
        model: Any = SentenceTransformer(str(folder), **settings)

        def run(items: Sequence[Any], size: int) -> object:
            return model.encode(list(items), batch_size=size)

    else:
        model = CrossEncoder(str(folder), **settings)

        def run(items: Sequence[Any], size: int) -> object:
            return model.predict(list(items), batch_size=size, activation_fn=torch.nn.Sigmoid())

    inner = model[0].auto_model
    trunk = getattr(inner, "model", inner)
    cut = lambda: _shallow(trunk, setup.sweep_layers)  # noqa: E731
    return Side("sentence-transformers", run, sweep=SWEEP, default=32, cut=cut)


@contextmanager
def _shallow(trunk: Any, layers: int) -> Iterator[None]:
    """Run only the first layers of a transformers model while the context is open."""
    all_layers = trunk.layers
    trunk.layers = all_layers[:layers]
    try:
        yield
    finally:
        trunk.layers = all_layers


def card(folder: Path, setup: Setup, role: Role = "embedding") -> Side:
    """Run the model card's script: left padding and, for reranking, the logits of every token.

    The script computes all texts in one batch; here batches limit the memory. It is slow, so it is
    timed once.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    kind: Any = AutoModel if role == "embedding" else AutoModelForCausalLM
    model = kind.from_pretrained(folder, **setup.transformers_options).to(setup.device).eval()
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))

    def batch(texts: list[str]) -> Any:
        inputs = tokenizer(texts, padding=True, return_tensors="pt").to(setup.device)
        inputs.pop("token_type_ids", None)
        if role == "embedding":
            last = model(**inputs).last_hidden_state[:, -1]
            return torch.nn.functional.normalize(last, p=2, dim=1)
        logits = model(**inputs).logits[:, -1, :]
        pair = torch.stack([logits[:, no], logits[:, yes]], dim=1)
        return torch.nn.functional.log_softmax(pair.float(), dim=1)[:, 1].exp()

    @torch.no_grad()
    def run(items: Sequence[Any], size: int) -> object:
        prompts = [item if role == "embedding" else RerankPrompt(*item).rendered for item in items]
        parts = [batch(prompts[start : start + size]) for start in range(0, len(prompts), size)]
        return torch.cat(parts).float().cpu().numpy()

    return Side("model card's script", run, default=8, rounds=1)


def openvino(python: str, folder: Path, setup: Setup, stack: ExitStack) -> Side:
    """Run OpenVINO in another interpreter, which gets token ids and returns vectors."""
    script = Path(__file__).with_name("openvino_side.py")
    child = subprocess.Popen(
        [python, str(script), str(folder), setup.dtype],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": ""},
    )
    stack.enter_context(child)
    stack.callback(child.terminate)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def answer() -> Any:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise RuntimeError("The OpenVINO process ended; its output is above.")
        return json.loads(line)

    def run(texts: Sequence[str], size: int) -> object:
        assert child.stdin is not None
        work = {"ids": tokenizer(list(texts))["input_ids"], "batch": size}
        child.stdin.write(json.dumps(work) + "\n")
        child.stdin.flush()
        return np.asarray(answer())

    return Side(f"OpenVINO {answer()}", run, sweep=(1, 8, 32))
