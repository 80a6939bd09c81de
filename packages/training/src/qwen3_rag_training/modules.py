"""The files from which sentence-transformers learns what a checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import EmbedPrompt, RerankPrompt, Role

__all__ = ["TEMPLATE", "add_template", "write_modules"]

TEMPLATE = "chat_template.jinja"

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


def write_modules(folder: Path, role: Role, size: int, answers: tuple[int, int]) -> None:
    """Write the module files of a checkpoint in the published layout.

    Args:
        folder: The checkpoint's folder.
        role: Whether it embeds or reranks.
        size: Size of its vectors; used for an embedder only.
        answers: Token ids of "no" and "yes"; used for a reranker only.
    """
    if role == "embedding":
        _write_embedding_modules(folder, size)
    else:
        _write_reranking_modules(folder, answers)


def add_template(folder: Path) -> None:
    """Give a reranker a chat template if it has none, because sentence-transformers needs one."""
    tokenizer = folder / "tokenizer_config.json"
    inside = tokenizer.is_file() and "chat_template" in json.loads(tokenizer.read_text("utf-8"))
    if not inside and not (folder / TEMPLATE).is_file():
        (folder / TEMPLATE).write_text(_template(), encoding="utf-8")


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
    add_template(folder)
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
