"""Stand-ins of vendors' APIs and of Ollama, defects included. None of them was seen by the vendor.

What they answer is the vendors' documentation and what users report. Each takes the options that a
test needs to see a defect or a wrong use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.backends import Role
from qwen3_rag_testkit.model_server import ModelServer, Rejected, Route, cosine, openai_vectors
from qwen3_rag_testkit.own_servers import rendered
from qwen3_rag_testkit.reference import TASK

__all__ = [
    "CohereServer",
    "DashScopeServer",
    "DeepInfraServer",
    "OllamaServer",
    "OpenRouterServer",
    "SiliconFlowServer",
]


class OllamaServer(ModelServer):
    """Ollama. It cuts silently unless `truncate` is false, and takes control tokens in texts."""

    def __init__(
        self,
        folder: Path,
        role: Role = "embedding",
        *,
        end_token: bool = True,
        api_key: str | None = None,
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: The checkpoint.
            role: "reranking" for a model file without pooling.
            end_token: Whether the model file says that the end token is appended.
            api_key: A key that a proxy before the server wants.
        """
        super().__init__(folder, role, name="qwen3-embedding:latest", api_key=api_key)
        self._end_token = end_token

    def routes(self) -> Mapping[str, Route]:
        return {
            "/api/version": lambda body: {"version": "0.40.12"},
            "/api/tags": self._tags,
            "/api/ps": lambda body: {"models": [{"name": self.name, "context_length": self.limit}]},
            "/api/show": self._show,
            "/api/embed": self._embed,
            "/v1/models": self._models,
        }

    def error(self, status: int, message: str) -> Rejected:
        return Rejected(status, {"error": message})

    def _tags(self, body: Any) -> Any:
        return {"models": [{"name": self.name, "model": self.name, "digest": "c0ffee" * 10}]}

    def _models(self, body: Any) -> Any:
        card = {"id": self.name, "object": "model", "owned_by": "library"}
        return {"object": "list", "data": [card]}

    def _show(self, body: Any) -> Any:
        info = {
            "general.architecture": "qwen3",
            "qwen3.context_length": 32_768,
            "tokenizer.ggml.add_eos_token": self._end_token,
        }
        if self.role == "reranking":
            return {"capabilities": ["completion"], "model_info": info}
        return {"capabilities": ["embedding"], "model_info": {**info, "qwen3.pooling_type": 3}}

    def _embed(self, body: Any) -> Any:
        if body["model"] != self.name:
            raise self.error(404, f"model '{body['model']}' not found")
        prompts = [self.model.encode(text, special=self._end_token) for text in body["input"]]
        if any(len(ids) > self.limit for ids in prompts) and body.get("truncate", True) is False:
            raise self.error(400, "the input length exceeds the context length")
        prompts = [ids[: self.limit] for ids in prompts]
        size = body.get("dimensions")
        return {
            "model": self.name,
            "embeddings": [self.model.vector(ids)[:size].tolist() for ids in prompts],
            "prompt_eval_count": sum(map(len, prompts)),
        }


class VendorServer(ModelServer):
    """What vendors have in common: any name of a model is served, and nothing tells which."""

    def __init__(
        self,
        folder: Path,
        role: Role,
        *,
        instructions: bool = True,
        cosines: bool = False,
        api_key: str | None = "k-1",
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: The checkpoint.
            role: What it is for.
            instructions: Whether instructions are read.
            cosines: Whether pairs are scored by comparing vectors.
            api_key: The key without which nothing is answered.
        """
        super().__init__(folder, role, api_key=api_key)
        self._instructions = instructions
        self._cosines = cosines

    def _probabilities(
        self, query: str, documents: Sequence[str], instruction: str | None
    ) -> list[float]:
        if self._cosines:
            right = self.model.vector(self.model.encode(query))
            rows = [self.model.vector(self.model.encode(text)) for text in documents]
            return [(1 + cosine(right, row)) / 2 for row in rows]
        task = instruction if instruction is not None and self._instructions else TASK
        prompts = [self.model.encode(rendered(task, query, text)) for text in documents]
        return [self.model.shares(ids, self.model.answers)[0] for ids in prompts]

    def _rerank(self, body: Any, field: str | None) -> list[dict[str, Any]]:
        instruction = body.get(field) if field is not None else None
        scores = self._probabilities(body["query"], body["documents"], instruction)
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        return sorted(results, key=lambda one: -one["relevance_score"])

    def _openai(self, body: Any) -> Any:
        prompts = [self.model.encode(text) for text in body["input"]]
        # Vendors do not say what they count.
        return openai_vectors([self.model.vector(ids) for ids in prompts], body, tokens=1)


class DashScopeServer(VendorServer):
    """DashScope. It makes the prompts itself, and cuts silently.

    A vector of the full size begins with the checkpoint's own, so that a short one is the same.
    """

    def __init__(
        self, folder: Path, role: Role, *, sides: bool = True, sizes: bool = True, **options: Any
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: The checkpoint.
            role: What it is for.
            sides: Whether `text_type` is read.
            sizes: Whether `dimension` is read.
            options: As in `VendorServer`.
        """
        super().__init__(folder, role, **options)
        self._sides = sides
        self._sizes = sizes
        self.limit = 8_192 if role == "embedding" else 4_000

    def routes(self) -> Mapping[str, Route]:
        services = "/api/v1/services"
        if self.role == "embedding":
            return {f"{services}/embeddings/text-embedding/text-embedding": self._embed}
        return {
            f"{services}/rerank/text-rerank/text-rerank": self._native,
            # A dead path, as on the vendor's hosts.
            "/compatible-mode/v1/reranks": self._dead,
        }

    def error(self, status: int, message: str) -> Rejected:
        code = {401: "InvalidApiKey", 404: "ModelNotFound"}.get(status, "InvalidParameter")
        return Rejected(status, {"code": code, "message": message, "request_id": "r-1"})

    def _dead(self, body: Any) -> Any:
        raise Rejected(404, {})

    def _embed(self, body: Any) -> Any:
        texts, asked = body["input"]["texts"], body.get("parameters") or {}
        if len(texts) > 10:
            raise self.error(
                400, "batch size is invalid, it should not be larger than 10.: input.contents"
            )
        if not all(texts):
            raise self.error(400, "The text is empty: input.texts")
        if asked.get("text_type") == "query" and self._sides:
            task = asked.get("instruct", TASK) if self._instructions else TASK
            texts = [f"Instruct: {task}\nQuery:{text}" for text in texts]
        size = asked.get("dimension", 1_024) if self._sizes else 1_024
        if size not in (64, 128, 256, 512, 768, 1_024, 1_536, 2_048):
            raise self.error(400, f"dimension {size} is not supported: parameters.dimension")
        rows = [
            {"text_index": index, "embedding": self._long(text, size)}
            for index, text in enumerate(texts)
        ]
        usage = {"total_tokens": sum(map(len, texts))}
        return {"output": {"embeddings": rows}, "usage": usage, "request_id": "r-1"}

    def _long(self, text: str, size: int) -> list[float]:
        vector = self.model.vector([*self.model.encode(text)[: self.limit]])
        full = np.concatenate([vector, *[vector / 10] * (2_048 // len(vector))])[:2_048]
        cut: NDArray[np.float32] = full[:size]
        numbers: list[float] = (cut / np.linalg.norm(cut)).tolist()
        return numbers

    def _native(self, body: Any) -> Any:
        asked = {**body["input"], **(body.get("parameters") or {})}
        if len(asked["documents"]) > 500:
            raise self.error(400, "too many documents")
        if not all([asked["query"], *asked["documents"]]):
            raise self.error(400, "The text is empty: input.documents")
        ids = [self.model.encode(text)[: self.limit] for text in asked["documents"]]
        asked["documents"] = [self.model.tokenizer.decode(one) for one in ids]
        results = self._rerank(asked, "instruct")
        return {"output": {"results": results}, "usage": {"total_tokens": 1}, "request_id": "r-1"}


class SiliconFlowServer(VendorServer):
    """SiliconFlow."""

    def routes(self) -> Mapping[str, Route]:
        if self.role == "embedding":
            return {"/v1/embeddings": self._embed}
        return {"/v1/rerank": self._native}

    def error(self, status: int, message: str) -> Rejected:
        if status == 401:
            return Rejected(status, "Invalid token")
        return Rejected(status, {"code": 20_015, "message": message, "data": None})

    def _embed(self, body: Any) -> Any:
        if len(body["input"]) > 32 or not all(body["input"]):
            raise self.error(400, "The parameter is invalid. Please check again.")
        return self._openai(body)

    def _native(self, body: Any) -> Any:
        if not body["query"] or body.get("instruction") == "":
            raise self.error(400, "The parameter is invalid. Please check again.")
        tokens = {"input_tokens": 1, "output_tokens": 0}
        return {"id": "i-1", "results": self._rerank(body, "instruction"), "tokens": tokens}


class DeepInfraServer(VendorServer):
    """DeepInfra."""

    def routes(self) -> Mapping[str, Route]:
        if self.role == "embedding":
            return {"/v1/openai/embeddings": self._openai}
        names = ("Qwen/Qwen3-Reranker-0.6B", "tiny")
        return {f"/v1/inference/{name}": self._native for name in names}

    def error(self, status: int, message: str) -> Rejected:
        return Rejected(status, {"detail": {"error": message}})

    def _native(self, body: Any) -> Any:
        queries, documents = body["queries"], body["documents"]
        if len(queries) != len(documents):
            raise self.error(400, "queries and documents must have the same length")
        scores = [
            self._probabilities(query, [text], body.get("instruction"))[0]
            for query, text in zip(queries, documents, strict=True)
        ]
        return {"scores": scores, "input_tokens": 1, "request_id": None}


class OpenRouterServer(VendorServer):
    """OpenRouter."""

    def routes(self) -> Mapping[str, Route]:
        if self.role == "embedding":
            return {"/api/v1/embeddings": self._embed}
        return {"/api/v1/rerank": self._native}

    def _embed(self, body: Any) -> Any:
        self._required(body)
        return self._openai(body)

    def _native(self, body: Any) -> Any:
        self._required(body)
        return {"id": "i-1", "results": self._rerank(body, None), "usage": {"total_tokens": 1}}

    def _required(self, body: Any) -> None:
        if body.get("provider") != {"require_parameters": True}:
            raise self.error(402, "a vendor was chosen that ignores parameters")


class CohereServer(VendorServer):
    """An API of Cohere's or Jina's shape, without instructions."""

    def __init__(
        self, folder: Path, *, path: str = "/v1/rerank", strict: bool = False, **options: Any
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: A reranker's checkpoint.
            path: The path that is there.
            strict: Whether unknown fields are refused instead of ignored.
            options: As in `VendorServer`.
        """
        super().__init__(folder, "reranking", **options)
        self._path = path
        self._strict = strict

    def routes(self) -> Mapping[str, Route]:
        return {self._path: self._native}

    def error(self, status: int, message: str) -> Rejected:
        return Rejected(status, {"message": message})

    def _native(self, body: Any) -> Any:
        if self._strict and (unknown := set(body) - {"model", "query", "documents"}):
            raise self.error(422, f"unknown field: {', '.join(sorted(unknown))}")
        return {"id": "i-1", "results": self._rerank(body, None), "meta": {}}
