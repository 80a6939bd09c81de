"""A small tokenizer with Qwen3's structure, made without a download.

It is a byte-level BPE with Qwen3's normaliser, pre-tokenisation and added tokens. Its vocabulary is
the 256 bytes and a few words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

from qwen3_rag.backends import Role

__all__ = ["ADDED_TOKENS", "SPLIT_PATTERN", "tokenizer_definition", "write_tokenizer"]

#: Qwen3's added tokens in order, and whether each is special. `encode_special_tokens` does not
#: affect those that are not.
ADDED_TOKENS = {
    **dict.fromkeys(
        (
            "<|endoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|object_ref_start|>",
            "<|object_ref_end|>",
            "<|box_start|>",
            "<|box_end|>",
            "<|quad_start|>",
            "<|quad_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|vision_pad|>",
            "<|image_pad|>",
            "<|video_pad|>",
        ),
        True,
    ),
    **dict.fromkeys(
        (
            "<tool_call>",
            "</tool_call>",
            "<|fim_prefix|>",
            "<|fim_middle|>",
            "<|fim_suffix|>",
            "<|fim_pad|>",
            "<|repo_name|>",
            "<|file_sep|>",
            "<tool_response>",
            "</tool_response>",
            "<think>",
            "</think>",
        ),
        False,
    ),
}

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Each word is merged from left to right, so its prefixes are tokens too. Words with a leading space
# and runs of punctuation show whether a prompt is split in the wrong place.
WORDS = (
    *("yes", "no", " the", " of", " and", " to", " in", " is", " a", " Query", " Document"),
    *(" what", " capital", " France", " Paris", " query", " document", " that", " answer"),
    *("Instruct", "Query", "Document", "What", "The", "  ", "    ", ">:", " (", "://", "++"),
)


def tokenizer_definition(
    role: Role,
    *,
    append_end: bool = True,
    vocab: dict[str, int] | None = None,
    merges: list[list[str]] | None = None,
) -> dict[str, Any]:
    """Describe the tokenizer as `tokenizer.json` does.

    Args:
        role: An embedding tokenizer appends the end token, a reranker's does not.
        append_end: Whether an embedding tokenizer appends it; early releases did not.
        vocab: Another vocabulary, without the added tokens.
        merges: The merges of that vocabulary.
    """
    if vocab is None or merges is None:
        vocab, merges = _small_vocabulary()
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    end = len(vocab)  # the first added token
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
        ],
        "special_tokens": {
            "<|endoftext|>": {"id": "<|endoftext|>", "ids": [end], "tokens": ["<|endoftext|>"]}
        },
    }
    appends = role == "embedding" and append_end
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": end + index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": special,
            }
            for index, (content, special) in enumerate(ADDED_TOKENS.items())
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": SPLIT_PATTERN},
                    "behavior": "Isolated",
                    "invert": False,
                },
                level,
            ],
        },
        "post_processor": {"type": "Sequence", "processors": [level, template]}
        if appends
        else level,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def _small_vocabulary() -> tuple[dict[str, int], list[list[str]]]:
    """Make a vocabulary of the 256 bytes and the prefixes of a few words."""
    byte_level = ByteLevel(add_prefix_space=False, use_regex=False)
    vocab = sorted(ByteLevel.alphabet())
    merges: list[list[str]] = []
    for word in WORDS:
        symbols = byte_level.pre_tokenize_str(word)[0][0]
        for length in range(1, len(symbols)):
            merge = [symbols[:length], symbols[length]]
            if merge not in merges:
                merges.append(merge)
                vocab.append(symbols[: length + 1])
    return {token: index for index, token in enumerate(dict.fromkeys(vocab))}, merges


def write_tokenizer(folder: Path, role: Role, *, append_end: bool = True) -> int:
    """Write `tokenizer.json` and `tokenizer_config.json`.

    Returns:
        The size of the vocabulary, added tokens included.
    """
    definition = tokenizer_definition(role, append_end=append_end)
    (folder / "tokenizer.json").write_text(json.dumps(definition), encoding="utf-8")
    configuration = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|endoftext|>" if role == "embedding" else "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 131072,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")
    return len(definition["model"]["vocab"]) + len(ADDED_TOKENS)
