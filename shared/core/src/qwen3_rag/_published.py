"""The published checkpoints, with their sizes and pinned revisions, and what others made of them.

Revisions are pinned so that scores stay the same when a repository changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "CONTEXT",
    "KNOWN",
    "MIN_DIM",
    "PUBLISHED",
    "KnownModel",
    "PublishedModel",
    "Role",
    "published",
]

Role: TypeAlias = Literal["embedding", "reranking"]

#: Smallest vector the authors trained for (Qwen3-Embedding model card, "MRL Support").
MIN_DIM = 32

#: Longest input of all six models (model cards, "Sequence Length").
CONTEXT = 32_768


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint published by the models' authors.

    Attributes:
        name: Repository on the Hugging Face Hub; ModelScope uses the same name.
        role: Whether it embeds or reranks.
        revision: Commit on the Hugging Face Hub.
        dim: Hidden size; for an embedding model, the size of its full vector.
        context: Longest input in tokens.
    """

    name: str
    role: Role
    revision: str
    dim: int
    context: int = CONTEXT


_RECORDS = (
    PublishedModel(
        "Qwen/Qwen3-Embedding-0.6B",
        "embedding",
        "97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
        dim=1024,
    ),
    # The revisions that mteb pins (qwen3_models.py, qwen3_reranker.py), except the 0.6B reranker's,
    # whose tokenizer produced the expected ids in the tests.
    PublishedModel(
        "Qwen/Qwen3-Embedding-4B",
        "embedding",
        "636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff",
        dim=2560,
    ),
    PublishedModel(
        "Qwen/Qwen3-Embedding-8B",
        "embedding",
        "4e423935c619ae4df87b646a3ce949610c66241c",
        dim=4096,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-0.6B",
        "reranking",
        "e61197ed45024b0ed8a2d74b80b4d909f1255473",
        dim=1024,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-4B",
        "reranking",
        "f16fc5d5d2b9b1d0db8280929242745d79794ef5",
        dim=2560,
    ),
    PublishedModel(
        "Qwen/Qwen3-Reranker-8B",
        "reranking",
        "5fa94080caafeaa45a15d11f969d7978e087a3db",
        dim=4096,
    ),
)

PUBLISHED = {record.name: record for record in _RECORDS}


@dataclass(frozen=True)
class KnownModel:
    """A checkpoint of somebody else that follows the procedure of Qwen's models.

    What its own files say is used. A record tells what they should say, to compare or to set.

    Attributes:
        name: Repository on the Hugging Face Hub.
        role: Whether it embeds or reranks.
        dim: Hidden size; for an embedding model, the size of its full vector.
        licence: Its licence.
        needs: What differs from Qwen's own models.
        source: Where that was read.
    """

    name: str
    role: Role
    dim: int
    licence: str
    needs: str
    source: str


# In the folder mteb/models/model_implementations of https://github.com/embeddings-benchmark/mteb,
# at commit a905523d0111f999360b312bd4a601a0a97a0e1c. None of the repositories was downloaded.
_MTEB = "mteb, {}.py"

_AS_QWEN = "nothing: prompts as Qwen's"
_F2LLM = (
    'a space behind "Query:" (query_template), and an end token, which <|endoftext|> becomes if '
    "the tokenizer appends none"
)


def _known(
    source: str, sizes: Mapping[str, int], needs: str = _AS_QWEN, licence: str = "Apache-2.0"
) -> list[KnownModel]:
    origin = _MTEB.format(source)
    return [
        KnownModel(name, "embedding", dim, licence, needs, origin) for name, dim in sizes.items()
    ]


_R3 = "xinference, pull request 5272"

KNOWN = (
    *_known(
        "harrier_models",
        {"microsoft/harrier-oss-v1-0.6b": 1024},
        "the prompts of its files, of which web_search_query is used",
        "MIT",
    ),
    *_known(
        "codefuse_models",
        {
            "codefuse-ai/F2LLM-v2-80M": 320,
            "codefuse-ai/F2LLM-v2-160M": 640,
            "codefuse-ai/F2LLM-v2-330M": 896,
            "codefuse-ai/F2LLM-v2-0.6B": 1024,
            "codefuse-ai/F2LLM-v2-1.7B": 2048,
            "codefuse-ai/F2LLM-v2-4B": 2560,
            "codefuse-ai/F2LLM-v2-8B": 4096,
            "codefuse-ai/F2LLM-v2-14B": 5120,
        },
        _F2LLM,
    ),
    *_known(
        "octen_models",
        {
            "Octen/Octen-Embedding-0.6B": 1024,
            "Octen/Octen-Embedding-4B": 2560,
            "Octen/Octen-Embedding-8B": 4096,
        },
        'a space before documents (document_prefix=" ")',
    ),
    *_known(
        "ict_time_and_querit_models",
        {
            "ICT-TIME-and-Querit/BOOM_4B_v1": 2560,
            "ICT-TIME-and-Querit/ICT-TIME-and-Querit-embedding-v1": 2560,
        },
    ),
    *_known(
        "aq_medai_models",
        {
            "AQ-MedAI/Diver-Retriever-0.6B": 1024,
            "AQ-MedAI/Diver-Retriever-1.7B": 2048,
            "AQ-MedAI/Diver-Retriever-4B": 2560,
            "AQ-MedAI/Diver-Retriever-4B-1020": 2560,
        },
    ),
    *_known(
        "hanno_labs_models",
        {"Hanno-Labs/dinghy-law-0.6b-v1": 1024, "Hanno-Labs/dinghy-law-4b-v1": 2560},
    ),
    *_known("mod_models", {"bflhc/MoD-Embedding": 2560}),
    *_known("yuan_models_en", {"IEITYuan/Yuan-embedding-2.0-en": 1024}),
    *_known("yale_nlp_models", {"yale-nlp/RTriever-4B": 2560}, licence="MIT"),
    *_known("euler_models", {"Mira190/Euler-Legal-Embedding-V1": 4096}, "the prompts of its files"),
    *_known(
        "emillykkejensen_models",
        {"emillykkejensen/Qwen3-Embedding-Scandi-0.6B": 1024},
        "the prompts of its files",
    ),
    *_known(
        "sionic_models",
        {
            "sionic-ai/comsat-embed-ja-8b-preview": 4096,
            "sionic-ai/comsat-embed-ko-8b-preview": 4096,
        },
        "the prompts of its files",
        "CC-BY-NC-4.0",
    ),
    KnownModel("tencent/R3-embedding-0.6b", "embedding", 1024, "see its page", _AS_QWEN, _R3),
    KnownModel("tencent/R3-rerank-0.6b", "reranking", 1024, "see its page", _AS_QWEN, _R3),
)


def published(model: str) -> PublishedModel | None:
    """Look up a model id.

    Args:
        model: `Qwen/...` or `modelscope:Qwen/...`.

    Returns:
        The published model, or `None` for a folder or any other checkpoint.
    """
    return PUBLISHED.get(model.removeprefix("modelscope:"))
