"""Reads and writes checkpoints in the published layout.

A written checkpoint loads in `qwen3_rag`, in transformers and in sentence-transformers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import EmbedPrompt, RerankPrompt, Role
from qwen3_rag.errors import InputError, ModelError

__all__ = [
    "DTYPES",
    "copy_tokenizer",
    "last_hidden",
    "load_model",
    "make_folder",
    "quiet",
    "save_model",
]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_TEMPLATE = "chat_template.jinja"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    _TEMPLATE,
)

# In the format of transformers 4, so that users of the files need not upgrade.
_POOLING = {
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": False,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
    "pooling_mode_weightedmean_tokens": False,
    "pooling_mode_lasttoken": True,
    "include_prompt": True,
}
_FORWARD = {"method": "forward", "method_output_name": "logits"}


@contextmanager
def quiet() -> Iterator[None]:
    """Turn off the progress bars of transformers."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    device: torch.device | None = None,
) -> PreTrainedModel:
    """Load a Qwen3 checkpoint with its language-model head.

    Args:
        folder: A local checkpoint folder; nothing is downloaded.
        dtype: Number format of the weights.
        attention: An attention implementation of transformers.
        device: Where to put the model; the CPU when omitted.

    Raises:
        ModelError: The checkpoint cannot be read, or is of another model family.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{str(folder)!r} is not a checkpoint folder: it has no config.json. Download the "
            "checkpoint first and give its folder."
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != "qwen3":
            raise ModelError(
                f"{str(folder)!r} is of the family {config.model_type!r}; only 'qwen3' "
                "checkpoints can be trained here."
            )
        with quiet():
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
            )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The checkpoint {str(folder)!r} cannot be read: {error}. Give a folder with "
            "config.json, tokenizer.json and *.safetensors."
        ) from error
    if device is not None:
        torch.nn.Module.to(model, device)
    return model


def last_hidden(model: PreTrainedModel, ids: Any, mask: Any, last: Any) -> torch.Tensor:
    """Return the hidden state after the final norm at each row's last token."""
    trunk: Any = model.model
    states = trunk(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    rows = torch.arange(len(ids), device=states.device)
    picked: torch.Tensor = states[rows, last]
    return picked


def make_folder(folder: Path) -> None:
    """Create an output folder if it does not exist.

    Raises:
        InputError: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"`output` {str(folder)!r} cannot be created: {error.strerror or error}. Give a "
            "folder you can write to."
        ) from error


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a checkpoint's tokenizer files."""
    target.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def save_model(model: PreTrainedModel, folder: Path, role: Role, answers: tuple[int, int]) -> None:
    """Write weights, config and the module files of sentence-transformers.

    The tokenizer files are not changed: write them first. A reranker without a chat template gets
    one, because sentence-transformers needs it.

    Args:
        model: The model to write, in its own dtype.
        folder: Target folder; created if needed.
        role: Decides the module files.
        answers: Token ids of "no" and "yes"; used for a reranker only.
    """
    with quiet():
        model.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors makes files readable by the owner only
    (folder / "generation_config.json").unlink(missing_ok=True)
    if role == "embedding":
        _write_embedding_modules(folder, int(model.config.hidden_size))
    else:
        _write_reranking_modules(folder, answers)


def _write(folder: Path, name: str, content: Any) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _modules(*entries: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"idx": index, "name": str(index), "path": path, "type": kind}
        for index, (path, kind) in enumerate(entries)
    ]


def _write_embedding_modules(folder: Path, size: int) -> None:
    prefix = "sentence_transformers.models."
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    _write(folder, "modules.json", _modules(*((path, prefix + kind) for path, kind in kinds)))
    _write(folder, "1_Pooling/config.json", {"word_embedding_dimension": size, **_POOLING})
    prompts = {"query": EmbedPrompt("", DEFAULT_INSTRUCTION).head, "document": ""}
    content = {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write(folder, "config_sentence_transformers.json", content)


def _template() -> str:
    """Build the chat template with which sentence-transformers renders a pair.

    `qwen3_rag` never reads it. All text is inside expressions, because Jinja drops a line break at
    the end of a template.
    """
    slots = {name: f"\0{name}\0" for name in ("system", "query", "document")}
    text = RerankPrompt(slots["query"], slots["document"], slots["system"]).rendered
    parts = text.split("\0")
    rendered = "".join(
        "{{ said." + part + " }}" if part in slots else "{{ " + json.dumps(part) + " }}"
        for part in parts
    )
    default = json.dumps(DEFAULT_INSTRUCTION)
    return (
        "{%- set said = namespace(system=" + default + ", query='', document='') -%}\n"
        "{%- for message in messages -%}\n"
        + "".join(
            "{%- if message.role == '" + name + "' -%}"
            "{%- set said." + name + " = message.content -%}{%- endif -%}\n"
            for name in slots
        )
        + "{%- endfor -%}\n"
        + rendered
    )


def _write_reranking_modules(folder: Path, answers: tuple[int, int]) -> None:
    if not (folder / _TEMPLATE).is_file():
        (folder / _TEMPLATE).write_text(_template(), encoding="utf-8")
    kinds = [
        ("", "sentence_transformers.base.modules.transformer.Transformer"),
        ("1_LogitScore", "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"),
    ]
    _write(folder, "modules.json", _modules(*kinds))
    no, yes = answers
    _write(folder, "1_LogitScore/config.json", {"true_token_id": yes, "false_token_id": no})
    content = {
        "activation_fn": "torch.nn.modules.linear.Identity",
        "default_prompt_name": "query",
        "model_type": "CrossEncoder",
        "prompts": {"query": DEFAULT_INSTRUCTION},
    }
    _write(folder, "config_sentence_transformers.json", content)
    content = {
        "transformer_task": "text-generation",
        "modality_config": {"text": _FORWARD, "message": {**_FORWARD, "format": "flat"}},
        "module_output_name": "causal_logits",
    }
    _write(folder, "sentence_bert_config.json", content)
