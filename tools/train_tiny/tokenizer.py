"""Training of a byte-level BPE tokenizer with Qwen3's pre-tokenisation and control tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import EmbedPrompt, RerankPrompt, Role
from qwen3_rag.errors import ModelError
from qwen3_rag_testkit.tokenizer import ADDED_TOKENS, SPLIT_PATTERN, tokenizer_definition

__all__ = ["answer_tokens", "save_tokenizer", "train_tokenizer"]

# The prompts and the answers are repeated this often, so that "yes" and "no" become tokens.
_PROMPT_REPEATS = 20_000


def _prompt_text() -> list[str]:
    pair = RerankPrompt("", "").rendered
    for token in ADDED_TOKENS:
        pair = pair.replace(token, "\n")
    query = EmbedPrompt("", DEFAULT_INSTRUCTION).rendered
    # Separate texts: in one text, pre-tokenisation would join the words with their neighbours.
    return [pair, query, "yes", "no"]


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a tokenizer of Qwen3's structure.

    Args:
        texts: Training text, in the same order in every run.
        vocabulary: Vocabulary size, control tokens included.

    Returns:
        The tokenizer, without a post-processor, because the end token depends on the role.

    Raises:
        ModelError: `yes` or `no` did not become a single token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(ADDED_TOKENS),
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
    """Look up the ids of "no" and "yes".

    Raises:
        ModelError: One of them is not a single token.
    """
    found = tokenizer.token_to_id("no"), tokenizer.token_to_id("yes")
    if found[0] is None or found[1] is None:
        raise ModelError("'yes' or 'no' is not a single token. Increase the vocabulary size.")
    return found[0], found[1]


def save_tokenizer(tokenizer: Tokenizer, folder: Path, role: Role, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` like those of the published checkpoints.

    Args:
        tokenizer: The trained tokenizer.
        folder: The checkpoint's folder.
        role: An embedding tokenizer appends `<|endoftext|>`, a reranking tokenizer nothing.
        context: The model's context length, which some libraries truncate to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = json.loads(tokenizer.to_str())["model"]
    definition = tokenizer_definition(role, vocab=model["vocab"], merges=model["merges"])
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
        "additional_special_tokens": [
            token for token, special in ADDED_TOKENS.items() if special and token != "<|endoftext|>"
        ],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>" if role == "embedding" else "<|im_end|>",
        "errors": "replace",
        "model_max_length": context,
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
