"""`About`: what the server tells of itself, its models and its limits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from qwen3_rag.backends import Capabilities, Role
from qwen3_rag_server.models import QUERY_SUFFIX, Served
from qwen3_rag_server.settings import Settings
from qwen3_rag_server.version import VERSION

__all__ = ["About"]

ROLES: tuple[Role, Role] = ("embedding", "reranking")


class About:
    """The answers to `/v1/models`, `/meta` and `/info`."""

    def __init__(self, served: Served, settings: Settings) -> None:
        """Set what is told of."""
        self._served, self._settings = served, settings

    def models(self) -> dict[str, Any]:
        """Answer `/v1/models`."""
        served = self._served
        names = [(served.embedding_name, "embedding"), (served.reranking_name, "reranking")]
        if served.embedding_name:
            names.insert(1, (f"{served.embedding_name}{QUERY_SUFFIX}", "embedding"))
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "qwen3-rag", "role": role}
            for name, role in names
            if name
        ]
        return {"object": "list", "data": data}

    def meta(self) -> dict[str, Any]:
        """Answer `/meta`, as Weaviate's modules ask for it."""
        return {
            "server": "qwen3-rag",
            "version": VERSION,
            "embedding": self._served.embedding_name or None,
            "reranking": self._served.reranking_name or None,
            "indexes": list(self._served.searchers),
            "defaults": self._served.defaults(),
            "chat": None if self._served.chat is None else self._served.chat.model,
        }

    async def info(self) -> dict[str, Any]:
        """Answer `/info`: the fields of TEI, and what `Remote` of this project reads of each model.

        Raises:
            Qwen3RagError: A model cannot be loaded.
        """
        models = {role: await self._model(role) for role in ROLES if self._served.name(role)}
        first: dict[str, Any] = next(iter(models.values()), {})
        longest = first.get("max_input_length", 0)
        kind: dict[str, Any] = {"embedding": {"pooling": "last_token"}}
        if "embedding" not in models:
            kind = {"reranker": {"id2label": {"0": "yes"}, "label2id": {"yes": 0}}}
        return {
            **self.meta(),
            "model_id": first.get("model", ""),
            "model_sha": first.get("fingerprint"),
            "model_dtype": first.get("dtype"),
            "served_model_name": first.get("model", ""),
            "model_type": kind,
            "max_concurrent_requests": self._settings.max_queue,
            "max_input_length": longest,
            "max_batch_tokens": longest * self._settings.max_texts,
            "max_batch_requests": None,
            "max_client_batch_size": self._settings.max_texts,
            "auto_truncate": False,
            "tokenization_workers": 1,
            "sha": None,
            "docker_label": None,
            "models": models,
        }

    async def _model(self, role: Role) -> dict[str, Any]:
        served, model = self._served, self._served.model(role)
        capabilities = await model.awarm_up()
        told = asdict(capabilities)
        # Neither where the model's folder is, nor the server that runs it, is the clients' concern.
        del told["server"]
        name = served.name(role)
        told["model"] = name
        told["prompts"]["source"] = told["prompts"]["source"].replace(model.model, name)
        return {
            **told,
            "dtype": _dtype(capabilities),
            "max_input_length": await served.longest(role),
        }


def _dtype(capabilities: Capabilities) -> str | None:
    """Return the number format, which the local engine's variant begins with."""
    first, *_ = (capabilities.variant or "").split(" ")
    return first.removeprefix("torch.") if first.startswith("torch.") else None
