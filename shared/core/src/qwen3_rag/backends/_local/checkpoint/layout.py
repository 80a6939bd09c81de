"""Checks that a folder contains a checkpoint that this project can run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwen3_rag._published import Role
from qwen3_rag.backends._local.checkpoint.files import find_files, read_json, shortened
from qwen3_rag.backends._local.checkpoint.hub import Checkpoint
from qwen3_rag.backends._local.checkpoint.sizes import check_config, check_weights
from qwen3_rag.errors import ModelError

__all__ = ["check_architecture", "check_layout"]

# Accepted values of `architectures` in config.json.
ARCHITECTURES = {"Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"}


def check_layout(checkpoint: Checkpoint, role: Role, *, renamed: bool = False) -> dict[str, Any]:
    """Read `config.json` and check that this project can run the checkpoint.

    Args:
        checkpoint: The checkpoint.
        role: Whether it is to embed or rerank.
        renamed: Whether the caller maps the tensors' names to others.

    Raises:
        ModelError: The folder is not a checkpoint, or the model is of another family or trained for
            another task.
    """
    config = _read_json(checkpoint.folder, "config.json")
    if config is None:
        raise ModelError(
            f"The folder {str(checkpoint.folder)!r} has no config.json, so it is not a checkpoint. "
            "Give the folder that holds config.json, tokenizer.json and *.safetensors."
        )
    if not isinstance(config, dict):
        raise ModelError(
            f"config.json of {checkpoint.name!r} holds no settings. Fetch the checkpoint again."
        )
    if config.get("model_type") != "qwen3":
        raise ModelError(
            f"{checkpoint.name!r} is of the family {shortened(config.get('model_type'))}; only "
            "'qwen3' checkpoints (Qwen3-Embedding, Qwen3-Reranker and their fine-tunes) can be run "
            "here."
        )
    check_config(config, checkpoint.name)
    check_architecture(config, checkpoint.name)
    if not any(checkpoint.folder.glob("*.safetensors")):
        raise ModelError(
            f"{checkpoint.name!r} has no *.safetensors file. Other weight formats are not read; "
            "convert them with transformers' save_pretrained."
        )
    _check_modules(checkpoint, role)
    check_weights(find_files(checkpoint.folder), config, role, checkpoint.name, renamed=renamed)
    return config


def check_architecture(config: Mapping[str, Any], name: str) -> None:
    """Check that a configuration describes Qwen3 as it is published.

    Args:
        config: The content of `config.json`, or a loaded model's configuration as a dictionary.
        name: The model's name, for messages.

    Raises:
        ModelError: It describes other attention, another activation or code of its own.
    """
    if "sliding_attention" in (config.get("layer_types") or ()) or config.get("use_sliding_window"):
        raise ModelError(
            f"{name!r} uses sliding-window attention, which no Qwen3 embedding or "
            "reranking checkpoint does and which is not implemented here."
        )
    changes = set(config.get("architectures") or ()) - ARCHITECTURES
    if (activation := config.get("hidden_act", "silu")) != "silu":
        changes.add(f"activation {activation!r}")
    if changes or "auto_map" in config or config.get("is_causal") is False:
        raise ModelError(
            f"{name!r} is built on Qwen3 but changes it "
            f"({', '.join(changes) or 'own code'}), so its numbers would "
            "be wrong here. Use the software it was published for."
        )


def _check_modules(checkpoint: Checkpoint, role: Role) -> None:
    """Reject a checkpoint whose sentence-transformers files describe another task."""
    root = checkpoint.holding("modules.json")
    modules = _read_json(root, "modules.json")
    if modules is None:
        return
    try:
        kinds = {str(m["type"]).rpartition(".")[2]: str(m.get("path", "")) for m in modules}
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(
            f"modules.json of {checkpoint.name!r} cannot be understood: {error!r}. Fetch the "
            "checkpoint again, or delete the file."
        ) from error
    if role == "embedding" and "LogitScore" in kinds:
        raise ModelError(
            f"{checkpoint.name!r} is a reranker. Open it with Qwen3Reranker, or give Qwen3Embedder "
            "an embedding model."
        )
    if role == "reranking" and "Pooling" in kinds:
        raise ModelError(
            f"{checkpoint.name!r} is an embedding model. Open it with Qwen3Embedder, or give "
            "Qwen3Reranker a reranking model."
        )
    if "Pooling" in kinds:
        pooling = _read_json(root, f"{kinds['Pooling']}/config.json") or {}
        if pooling.get("pooling_mode_lasttoken") is False or pooling.get(
            "pooling_mode", "lasttoken"
        ) not in ("lasttoken", ["lasttoken"]):
            raise ModelError(
                f"{checkpoint.name!r} was trained with a pooling other than the last token's, so "
                "its vectors would be wrong here. Use sentence-transformers for it."
            )
    if "Dense" in kinds:
        raise ModelError(
            f"{checkpoint.name!r} has a dense layer behind its pooling, which is not implemented "
            "here. Use sentence-transformers for it."
        )


def _read_json(folder: Path, name: str) -> Any:
    path = folder / name
    return read_json(path) if path.is_file() else None
