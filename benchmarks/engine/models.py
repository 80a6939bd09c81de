"""The checkpoints of the benchmark: the exact 0.6B, smaller variants of it, and `tiny`.

Speed does not depend on the values of the weights. Random checkpoints are made once, in bfloat16
like the published ones, and kept in the user's cache folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_rag.backends import Role
from qwen3_rag_tiny import embedding_folder, reranking_folder

__all__ = ["LAYERS", "NARROW", "QWEN3_0_6B", "Model", "Shapes", "cached", "shapes", "tiny"]

LAYERS = 28

#: The published configuration, including the vocabulary size.
QWEN3_0_6B: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "initializer_range": 0.02,
}

#: Minimal work per token, to measure costs that depend only on the number of tokens.
NARROW: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "max_position_embeddings": 40_960,
    "vocab_size": 32_768,
}


@dataclass(frozen=True)
class Model:
    """An embedding and a reranking checkpoint of one size."""

    name: str
    embedding: Path
    reranking: Path


@dataclass(frozen=True)
class Shapes:
    """The matrix products of a layer, as (inputs, outputs), and the number of layers."""

    layers: int
    products: dict[str, tuple[int, int]]

    @property
    def parameters(self) -> int:
        """Number of weights without the embedding table and the norms."""
        return self.layers * sum(rows * columns for rows, columns in self.products.values())


def shapes(folder: Path) -> Shapes:
    """Read the shapes from a checkpoint's configuration."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    query = config["num_attention_heads"] * config["head_dim"]
    key = config["num_key_value_heads"] * config["head_dim"]
    products = {
        "query, key and value": (hidden, query + 2 * key),
        "attention's output": (query, hidden),
        "gate and up": (hidden, 2 * inner),
        "down": (inner, hidden),
    }
    return Shapes(config["num_hidden_layers"], products)


def tiny() -> Model:
    """Return the tiny checkpoints."""
    return Model("tiny", embedding_folder(), reranking_folder())


def cached(layers: int) -> Model:
    """Return the random 0.6B checkpoints, or variants with fewer layers."""
    name = "0.6B" if layers == LAYERS else f"0.6B cut to {layers} of {LAYERS} layers"
    config = {**QWEN3_0_6B, "num_hidden_layers": layers}
    return Model(name, checkpoint("embedding", config), checkpoint("reranking", config))


def checkpoint(role: Role, config: dict[str, Any]) -> Path:
    """Make a checkpoint unless it is cached. The tokenizer is that of the tiny checkpoints."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"{role}-{config['hidden_size']}-{config['num_hidden_layers']}"
    folder = cache / "qwen3-rag" / "benchmarks" / name
    if not folder.exists():
        print(f"making {folder}", file=sys.stderr, flush=True)
        unfinished = folder.with_name(f"{name}.{os.getpid()}")
        _write(unfinished, role, config)
        unfinished.rename(folder)
    return folder


def _write(folder: Path, role: Role, config: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from qwen3_rag_testkit.checkpoints import write_checkpoint

    tokenizer = {"embedding": embedding_folder, "reranking": reranking_folder}[role]()
    try:
        write_checkpoint(folder, role, config=config, tokenizer=tokenizer)
        for name in ("chat_template.jinja", "config_sentence_transformers.json"):
            if (tokenizer / name).exists():  # with the reranker's, peers render pairs
                shutil.copy(tokenizer / name, folder / name)
        file = folder / "model.safetensors"
        weights = {name: part.to(torch.bfloat16) for name, part in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings["dtype"] = "bfloat16"
        (folder / "config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder)
        raise
