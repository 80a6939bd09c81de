"""Small random checkpoints of the exact architecture, in the published layout.

The attention is made sharper than usual. With the default initialisation it is almost uniform, and
swapping two tokens changes a logit by 2e-4; here the change is more than 1e-2, so that mistakes are
visible. Use these checkpoints to compare computations, never to judge quality.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import Role
from qwen3_rag_testkit.tokenizer import write_tokenizer

__all__ = ["SIZES", "hot", "write_checkpoint"]

#: The published sizes, scaled down; like the originals, they differ in depth, heads and tied
#: embeddings.
SIZES: dict[str, dict[str, Any]] = {
    "0.6B": {"num_hidden_layers": 4, "tie_word_embeddings": True},
    "4B": {
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "hidden_size": 80,
        "tie_word_embeddings": True,
    },
    "8B": {
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "hidden_size": 96,
        "tie_word_embeddings": False,
    },
    "36 layers": {"num_hidden_layers": 36, "tie_word_embeddings": False, "hidden_size": 48},
}

_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "rope_theta": 1_000_000,
    "initializer_range": 0.06,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
}


def hot(config: Qwen3Config, seed: int) -> Qwen3ForCausalLM:
    """Make a model whose logits depend strongly on every token and position.

    The query and key norms are scaled by 3, or by 2 in deep models: each layer amplifies rounding
    errors, and with 3 the float32 error of 36 layers reaches 3e-3. With 2 it is below 1e-5, and
    swapping two tokens still changes the logit by more than 0.1.
    """
    scale = 3.0 if config.num_hidden_layers <= 8 else 2.0
    torch.manual_seed(seed)
    model: Qwen3ForCausalLM = Qwen3ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if "q_norm" in name or "k_norm" in name:
            parameter.data.fill_(scale)
    return model


def write_checkpoint(
    folder: Path,
    role: Role,
    *,
    config: Mapping[str, Any] | None = None,
    classifier: bool = False,
    modules: bool = True,
    shards: bool = False,
    append_end: bool = True,
    tokenizer: Path | None = None,
    seed: int = 0,
) -> Path:
    """Write a checkpoint.

    Args:
        folder: Target folder; created if needed.
        role: Whether the checkpoint embeds or reranks.
        config: Changes to the small default configuration.
        classifier: Whether to write a reranker as a sequence classifier with one label, as some are
            published. Its scores equal those of the language model with the same seed.
        modules: Whether to write sentence-transformers' files too.
        shards: Whether to split the weights over several files.
        append_end: Whether an embedding tokenizer appends the end token.
        tokenizer: Folder of another tokenizer to copy.
        seed: Seed of the weights.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is None:
        size = write_tokenizer(folder, role, append_end=append_end)
    else:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer / name, folder / name)
        size = 151_669
    model: Any = hot(Qwen3Config(**{**_SMALL, "vocab_size": size, **(config or {})}), seed)
    if role == "embedding":
        trunk: Qwen3Model = model.model
        trunk.config.architectures = ["Qwen3ForCausalLM"]
        model = trunk
    elif classifier:
        model = _as_classifier(model, folder)
    model.save_pretrained(folder, max_shard_size="100KB" if shards else "5GB")
    if modules:
        _write_modules(folder, role, classifier)
    return folder


def _as_classifier(model: Qwen3ForCausalLM, folder: Path) -> Qwen3ForSequenceClassification:
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    yes, no = tokens.token_to_id("yes"), tokens.token_to_id("no")
    settings = {**model.config.to_dict(), "pad_token_id": None}
    for labels in ("id2label", "label2id", "num_labels"):
        settings.pop(labels, None)
    config = Qwen3Config(**{**settings, "num_labels": 1})
    classifier: Qwen3ForSequenceClassification = Qwen3ForSequenceClassification(config).eval()
    classifier.model.load_state_dict(model.model.state_dict())
    head = model.lm_head.weight.data
    classifier.score.weight.data = (head[yes] - head[no])[None].clone()
    return classifier


def _write_modules(folder: Path, role: Role, classifier: bool) -> None:
    def write(name: str, content: object) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def module(index: int, path: str, kind: str) -> dict[str, object]:
        return {"idx": index, "name": str(index), "path": path, "type": kind}

    if role == "embedding":
        prefix = "sentence_transformers.models"
        write(
            "modules.json",
            [
                module(0, "", f"{prefix}.Transformer"),
                module(1, "1_Pooling", f"{prefix}.Pooling"),
                module(2, "2_Normalize", f"{prefix}.Normalize"),
            ],
        )
        size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
        write(
            "1_Pooling/config.json",
            {
                "word_embedding_dimension": size,
                "pooling_mode_cls_token": False,
                "pooling_mode_mean_tokens": False,
                "pooling_mode_max_tokens": False,
                "pooling_mode_lasttoken": True,
                "include_prompt": True,
            },
        )
        write(
            "config_sentence_transformers.json",
            {
                "prompts": {
                    "query": f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:",
                    "document": "",
                },
                "similarity_fn_name": "cosine",
            },
        )
    elif not classifier:
        from tokenizers import Tokenizer

        tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        prefix = "sentence_transformers"
        write(
            "modules.json",
            [
                module(0, "", f"{prefix}.base.modules.transformer.Transformer"),
                module(1, "1_LogitScore", f"{prefix}.cross_encoder.modules.logit_score.LogitScore"),
            ],
        )
        write(
            "1_LogitScore/config.json",
            {
                "true_token_id": tokens.token_to_id("yes"),
                "false_token_id": tokens.token_to_id("no"),
            },
        )
        write(
            "sentence_bert_config.json",
            {
                "transformer_task": "text-generation",
                "modality_config": {
                    "text": {"method": "forward", "method_output_name": "logits"},
                    "message": {
                        "method": "forward",
                        "method_output_name": "logits",
                        "format": "flat",
                    },
                },
                "module_output_name": "causal_logits",
            },
        )
        write(
            "config_sentence_transformers.json",
            {
                "activation_fn": "torch.nn.modules.linear.Identity",
                "model_type": "CrossEncoder",
            },
        )
