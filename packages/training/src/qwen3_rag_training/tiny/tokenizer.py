"""A byte-level BPE tokenizer with Qwen3's pre-tokenisation and control tokens.

Trains on any text; knows nothing of models. `yes` and `no` become single tokens because the
training text is given them often enough, and that is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import EmbedPrompt, RerankPrompt, Role
from qwen3_rag.errors import ModelError

__all__ = [
    "CONTROL_TOKENS",
    "SPECIAL_TOKENS",
    "answer_tokens",
    "save_tokenizer",
    "train_tokenizer",
]

#: Qwen3's added tokens in the order of their ids; the first 14 are special, the others are not.
SPECIAL_TOKENS = (
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
)
CONTROL_TOKENS = (
    *SPECIAL_TOKENS,
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
)

# Qwen3's own pattern, tokenizer.json of Qwen/Qwen3-Embedding-0.6B.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# How often the prompts and the two answers are shown to the trainer: enough to become whole.
_PROMPT_REPEATS = 20_000


def _prompt_text() -> list[str]:
    pair = RerankPrompt("", "").rendered
    for token in CONTROL_TOKENS:
        pair = pair.replace(token, "\n")
    query = EmbedPrompt("", DEFAULT_INSTRUCTION).rendered
    # Each on a line of its own: pre-tokenisation would glue the words to their neighbours.
    return [pair, query, "yes", "no"]


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a tokenizer of Qwen3's structure.

    Args:
        texts: Training text, in an order that does not change between runs.
        vocabulary: Number of ids, control tokens included.

    Returns:
        The tokenizer, without post-processor: what closes a text depends on the role.

    Raises:
        ModelError: `yes` or `no` did not become a single token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def lines() -> Iterable[str]:
        for _ in range(_PROMPT_REPEATS):
            yield from _prompt_text()
        yield from texts

    tokenizer.train_from_iterator(lines(), trainer)
    answer_tokens(tokenizer)
    return tokenizer


def answer_tokens(tokenizer: Tokenizer) -> tuple[int, int]:
    """Ids of "no" and "yes".

    Raises:
        ModelError: One of them is not a single token.
    """
    found = tokenizer.token_to_id("no"), tokenizer.token_to_id("yes")
    if found[0] is None or found[1] is None:
        raise ModelError("'yes' or 'no' is not a single token. Raise the vocabulary's size.")
    return found[0], found[1]


def _definition(tokenizer: Tokenizer, role: Role) -> dict[str, Any]:
    """The content of `tokenizer.json`, laid out like the published one."""
    definition: dict[str, Any] = json.loads(tokenizer.to_str())
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    level["use_regex"] = False
    first = tokenizer.get_vocab_size(with_added_tokens=False)
    definition["added_tokens"] = [
        {
            "id": first + index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": token in SPECIAL_TOKENS,
        }
        for index, token in enumerate(CONTROL_TOKENS)
    ]
    definition["decoder"] = level
    definition["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    end = CONTROL_TOKENS[0]
    closing = {"SpecialToken": {"id": end, "type_id": 0}}
    one = {"Sequence": {"id": "A", "type_id": 0}}
    two = {"Sequence": {"id": "B", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [one, closing],
        "pair": [one, two, closing],
        "special_tokens": {end: {"id": end, "ids": [first], "tokens": [end]}},
    }
    definition["post_processor"] = (
        {"type": "Sequence", "processors": [level, template]} if role == "embedding" else level
    )
    return definition


def save_tokenizer(tokenizer: Tokenizer, folder: Path, role: Role, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` as the published checkpoints have them.

    Args:
        tokenizer: As trained.
        folder: The checkpoint's.
        role: The embedding tokenizer closes every text with `<|endoftext|>`, the other none.
        context: The model's longest input, for libraries that cut by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    definition = _definition(tokenizer, role)
    (folder / "tokenizer.json").write_text(
        json.dumps(definition, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: token[key] for key in sorted(token) if key != "id"}
            for token in definition["added_tokens"]
        },
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": CONTROL_TOKENS[0] if role == "embedding" else "<|im_end|>",
        "errors": "replace",
        "model_max_length": context,
        "pad_token": CONTROL_TOKENS[0],
        "padding_side": "left",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
