"""The procedure of the model cards with transformers, as the reference for all computations.

It is independent of `qwen3_rag` on purpose: it repeats the prompts, pads on the left and computes
the logits of the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

__all__ = ["reference_logits", "reference_tokens", "reference_vectors"]

TASK = "Given a web search query, retrieve relevant passages that answer the query"


def _query_text(query: str, task: str) -> str:
    return f"Instruct: {task}\nQuery:{query}"


def reference_vectors(
    folder: Path, texts: Sequence[str], *, task: str | None = None, batch: int = 0
) -> NDArray[np.float32]:
    """Embed texts as float32 unit vectors.

    Args:
        folder: The checkpoint's folder.
        texts: Queries if `task` is given, else documents.
        task: The instruction for queries.
        batch: Texts per padded batch; 0 puts all in one.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    rendered = [text if task is None else _query_text(text, task) for text in texts]
    rows = []
    for start in range(0, len(rendered), batch or len(rendered)):
        inputs = tokenizer(
            rendered[start : start + (batch or len(rendered))],
            padding=True,
            truncation=True,
            max_length=8192,
            return_tensors="pt",
        )
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            last = model(**inputs).last_hidden_state[:, -1]
        rows.append(torch.nn.functional.normalize(last, p=2, dim=1))
    vectors: NDArray[np.float32] = torch.cat(rows).numpy()
    return vectors


def reference_tokens(tokenizer: object, query: str, document: str, task: str = TASK) -> list[int]:
    """Build the token ids of a pair as the reranker's model card does."""
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    encode = tokenizer.encode  # type: ignore[attr-defined]  # any transformers tokenizer
    pair = f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}"
    ids: list[int] = encode(prefix, add_special_tokens=False)
    ids += encode(pair, add_special_tokens=False)
    ids += encode(suffix, add_special_tokens=False)
    return ids


def reference_logits(
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    *,
    task: str = TASK,
    batch: int = 0,
    swap: tuple[int, int] | None = None,
    shift: int = 0,
) -> NDArray[np.float32]:
    """Score pairs in float32 as log-odds of "yes".

    Args:
        folder: The checkpoint's folder.
        pairs: Pairs of query and document.
        task: The instruction.
        batch: Pairs per padded batch; 0 puts all in one.
        swap: Swaps the tokens at these two positions, counted from the end, to introduce an error.
        shift: Shifts the positions of the last ten tokens, to introduce an error.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    yes = tokenizer.convert_tokens_to_ids("yes")
    no = tokenizer.convert_tokens_to_ids("no")
    encoded = [reference_tokens(tokenizer, query, document, task) for query, document in pairs]
    if swap is not None:
        for ids in encoded:
            ids[-swap[0]], ids[-swap[1]] = ids[-swap[1]], ids[-swap[0]]
    logits = []
    for start in range(0, len(encoded), batch or len(encoded)):
        some = encoded[start : start + (batch or len(encoded))]
        width = max(len(ids) for ids in some)
        inputs = torch.tensor([[0] * (width - len(ids)) + ids for ids in some])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in some])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        positions[:, -10:] += shift
        with torch.no_grad():
            last = model(input_ids=inputs, attention_mask=mask, position_ids=positions).logits[
                :, -1
            ]
        logits.append(last[:, yes] - last[:, no])
    values: NDArray[np.float32] = torch.cat(logits).numpy()
    return values
