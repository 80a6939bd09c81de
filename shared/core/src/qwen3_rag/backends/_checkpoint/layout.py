"""Checks that a folder contains a checkpoint that this project can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwen3_rag._published import Role
from qwen3_rag.backends._checkpoint.advice import (
    check_prefixes,
    is_unfinished,
    no_checkpoint,
)
from qwen3_rag.backends._checkpoint.files import (
    find_files,
    read_header,
    read_json,
    refuse_pointer,
    shortened,
)
from qwen3_rag.backends._checkpoint.hub import Checkpoint
from qwen3_rag.backends._checkpoint.sizes import check_config, check_weights
from qwen3_rag.backends._checkpoint.words import read_file, read_modules, read_settings
from qwen3_rag.errors import ModelError

__all__ = ["check_architecture", "check_layout", "check_settings"]

# Accepted values of `architectures` in config.json.
ARCHITECTURES = {"Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"}

# The modules that are understood; a dropout does nothing after training.
KNOWN_MODULES = {"Dense", "Dropout", "LogitScore", "Normalize", "Pooling", "Transformer"}


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
    config = check_settings(checkpoint, role)
    files = find_files(checkpoint.folder)
    if not files.weights:
        raise ModelError(
            f"{checkpoint.name!r} has no *.safetensors file of the name model.safetensors or in "
            "the list model.safetensors.index.json"
            + (
                ": its download was interrupted. Start it again; it goes on where it stopped."
                if is_unfinished(checkpoint.root)
                else ". Other weight formats are not read; convert them with transformers' "
                "save_pretrained."
            )
        )
    if not renamed:
        check_prefixes(
            (name for file in files.weights for name in read_header(file)), checkpoint.name
        )
    check_weights(files, config, role, checkpoint.name, renamed=renamed)
    return config


def check_settings(checkpoint: Checkpoint, role: Role) -> dict[str, Any]:
    """Do the same without looking at the weights, which may be elsewhere.

    Raises:
        ModelError: As `check_layout`.
    """
    path = checkpoint.folder / "config.json"
    config = read_json(path) if path.is_file() else None
    if config is None:
        raise no_checkpoint(checkpoint.root)
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
    _check_modules(checkpoint, role)
    for path in find_files(checkpoint.folder).settings:
        refuse_pointer(path)
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
    if changes or "auto_map" in config or not config.get("is_causal", True):
        raise ModelError(
            f"{name!r} is built on Qwen3 but changes it "
            f"({', '.join(changes) or 'own code'}), so its numbers would "
            "be wrong here. Use the software it was published for."
        )


def _check_modules(checkpoint: Checkpoint, role: Role) -> None:
    """Reject a checkpoint whose sentence-transformers files describe something else."""
    name = checkpoint.name
    modules = read_modules(checkpoint)
    kinds = {module.kind: module for module in modules}
    for module in modules:
        if module.kind not in KNOWN_MODULES or module.package != "sentence_transformers":
            raise ModelError(
                f"modules.json of {name!r} lists {module.kind!r}"
                + ("" if module.package == "sentence_transformers" else f" of {module.package!r}")
                + ", which is not implemented here. Use sentence-transformers for it."
            )
    if "Pooling" in kinds and read_settings(checkpoint).get("model_type") == "CrossEncoder":
        raise ModelError(
            f"modules.json of {name!r} describes a reranker that scores with a layer behind a "
            "pooling, not by the answers yes and no. Use sentence-transformers' CrossEncoder for "
            "it."
        )
    if "Dense" in kinds:
        raise ModelError(
            f"modules.json of {name!r} has a dense layer behind the pooling, which is not "
            "implemented here. Use sentence-transformers for it."
        )
    if role == "embedding" and "LogitScore" in kinds:
        raise ModelError(
            f"{name!r} is a reranker. Open it with Qwen3Reranker, or give Qwen3Embedder an "
            "embedding model."
        )
    if role == "reranking" and "Pooling" in kinds:
        raise ModelError(
            f"{name!r} is an embedding model. Open it with Qwen3Embedder, or give Qwen3Reranker a "
            "reranking model."
        )
    if "Pooling" in kinds:
        _check_pooling(checkpoint, kinds["Pooling"].path)
    _check_casing(checkpoint)


def _check_pooling(checkpoint: Checkpoint, path: str) -> None:
    """Reject a pooling other than the last token's.

    Whether the prompt is pooled (`include_prompt`) makes no difference to the last token.
    """
    file = f"{path}/config.json"
    settings = read_file(checkpoint, file)
    if not isinstance(settings, dict):
        raise ModelError(
            f"{checkpoint.name!r} has no {file}, which says how its vectors are pooled. Fetch the "
            "checkpoint again."
        )
    modes = settings.get("pooling_mode")
    if modes is None:  # as it was written before sentence-transformers 6
        modes = [
            key.removeprefix("pooling_mode_")
            for key, value in settings.items()
            if key.startswith("pooling_mode_") and value
        ]
    if modes not in ("lasttoken", ["lasttoken"]):
        raise ModelError(
            f"{file} of {checkpoint.name!r} asks for the pooling {shortened(modes)}; only "
            "'lasttoken' is implemented here. Use sentence-transformers for it."
        )


def _check_casing(checkpoint: Checkpoint) -> None:
    path = checkpoint.folder / "sentence_bert_config.json"
    settings = read_json(path) if path.is_file() else None
    if isinstance(settings, dict) and settings.get("do_lower_case"):
        raise ModelError(
            f"sentence_bert_config.json of {checkpoint.name!r} has `do_lower_case`, and texts are "
            "not changed here. Use sentence-transformers for it."
        )
