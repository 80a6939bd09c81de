"""Stand-ins of servers that one runs oneself: vLLM 0.32, TEI 1.9, SGLang 0.5, defects included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwen3_rag.backends import Role
from qwen3_rag_testkit.model_server import (
    ModelServer,
    Rejected,
    Route,
    cosine,
    openai_vectors,
)
from qwen3_rag_testkit.reference import TASK

__all__ = ["SGLangServer", "TEIServer", "VLLMServer"]

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def rendered(task: str, query: str, document: str) -> str:
    """Render the reranker's chat template."""
    pair = f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}"
    return f"{PREFIX}{pair}{SUFFIX}"


class VLLMServer(ModelServer):
    """vLLM. Only paths below `/v1` need the key, and control tokens in texts are taken as such."""

    def __init__(
        self,
        folder: Path,
        role: Role,
        *,
        runner: str = "",
        template: bool = True,
        instructions: bool = True,
        matryoshka: bool = False,
        api_key: str | None = None,
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: The checkpoint.
            role: What the checkpoint is for.
            runner: What the server makes of it: "embed", "classify" or "generate"; by default,
                "embed" for an embedder and "generate" for a reranker.
            template: Whether "classify" has the chat template; texts are only joined without it.
            instructions: Whether the template has a place for the instruction.
            matryoshka: Whether `dimensions` is allowed.
            api_key: The key that `/v1` needs.
        """
        super().__init__(folder, role, api_key=api_key)
        self._runner = runner or ("embed" if role == "embedding" else "generate")
        self._template = template
        self._instructions = instructions
        self._matryoshka = matryoshka

    def routes(self) -> Mapping[str, Route]:
        routes: dict[str, Route] = {"/version": self._version, "/v1/models": self._models}
        if self._runner == "embed":
            routes["/v1/embeddings"] = self._embeddings
        if self._runner == "generate":
            routes["/generative_scoring"] = self._scoring
        else:
            routes.update(dict.fromkeys(("/rerank", "/v1/rerank", "/v2/rerank"), self._rerank))
        return routes

    def is_guarded(self, path: str) -> bool:
        return path.startswith(("/v1", "/v2"))

    def _version(self, body: Any) -> Any:
        return {"version": "0.32.0"}

    def _models(self, body: Any) -> Any:
        card = {"id": self.name, "object": "model", "owned_by": "vllm", "root": "/model"}
        return {"object": "list", "data": [{**card, "max_model_len": self.limit}]}

    def _checked(self, body: Any, prompts: Sequence[Sequence[int]]) -> None:
        if body.get("model", self.name) != self.name:
            raise self.error(404, f"The model `{body['model']}` does not exist.")
        for ids in prompts:
            if len(ids) > self.limit:
                raise self.error(400, f"{len(ids)} tokens, and the limit is {self.limit}.")

    def _embeddings(self, body: Any) -> Any:
        prompts = _prompts(self, body["input"])
        self._checked(body, prompts)
        size = body.get("dimensions")
        if size is not None and not self._matryoshka:
            raise self.error(400, 'Model "served" does not support Matryoshka representation.')
        vectors = [self.model.vector(ids) for ids in prompts]
        if size is not None:
            vectors = [one[:size] / (one[:size] @ one[:size]) ** 0.5 for one in vectors]
        return openai_vectors(vectors, body, sum(map(len, prompts)))

    def _scoring(self, body: Any) -> Any:
        joined = [_joined(self, body["query"], item) for item in body["items"]]
        self._checked(body, [])
        prompts = [ids[: self.limit - 1] for ids in joined]  # one is for its answer
        scores = [self.model.shares(ids, body["label_token_ids"])[0] for ids in prompts]
        tokens = sum(map(len, prompts))
        data = [
            {"index": index, "object": "score", "score": one} for index, one in enumerate(scores)
        ]
        return {"object": "list", "data": data, "usage": {"prompt_tokens": tokens}}

    def _rerank(self, body: Any) -> Any:
        query, documents = body["query"], body["documents"]
        if self._runner == "embed":
            asked = self.model.encode(query)
            prompts = [self.model.encode(text) for text in documents]
            right = self.model.vector(asked)
            scores = [cosine(right, self.model.vector(ids)) for ids in prompts]
            tokens = sum(len(asked) + len(ids) for ids in prompts)
        else:
            task = body.get("instruction", TASK) if self._instructions else TASK
            texts = [
                rendered(task, query, text) if self._template else query + text
                for text in documents
            ]
            prompts = [self.model.encode(text) for text in texts]
            self._checked(body, prompts)
            scores = [self.model.shares(ids, self.model.answers)[0] for ids in prompts]
            tokens = sum(map(len, prompts))
        results: list[dict[str, Any]] = [
            {"index": index, "document": {"text": text}, "relevance_score": score}
            for index, (text, score) in enumerate(zip(documents, scores, strict=True))
        ]
        results.sort(key=lambda one: -one["relevance_score"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"id": "rerank-1", "model": self.name, "usage": usage, "results": results}


class TEIServer(ModelServer):
    """Text Embeddings Inference.

    Ids are decoded and encoded again, so that control tokens in texts are taken as such. It cuts
    silently unless `truncate` is false, which `/v1/embeddings` does not have.
    """

    def __init__(
        self,
        folder: Path,
        *,
        default_prompt: str | None = None,
        pooling: str = "last_token",
        api_key: str | None = None,
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: An embedder's checkpoint.
            default_prompt: A text that the server sets before every input.
            pooling: What it says it reads vectors from.
            api_key: The key that everything but `/health` needs.
        """
        super().__init__(folder, "embedding", api_key=api_key)
        self._default_prompt = default_prompt
        self._pooling = pooling

    def routes(self) -> Mapping[str, Route]:
        return {
            "/info": self._info,
            "/embed": self._embed,
            "/rerank": self._rerank,
            "/v1/embeddings": self._openai,
        }

    def error(self, status: int, message: str) -> Rejected:
        kinds = {400: "Empty", 422: "Validation", 424: "Backend"}
        return Rejected(status, {"error": message, "error_type": kinds.get(status, "Unhealthy")})

    def _info(self, body: Any) -> Any:
        limits = {"max_input_length": self.limit, "max_client_batch_size": 32}
        return {
            "model_id": "served",
            "model_sha": "c0ffee",  # null if the model is a folder
            "model_dtype": "float32",
            "served_model_name": "served",
            "model_type": {"embedding": {"pooling": self._pooling}},
            "max_batch_tokens": 16_384,
            "auto_truncate": True,
            "version": "1.9.3",
            **limits,
        }

    def _rerank(self, body: Any) -> Any:
        raise self.error(424, "Backend error: model is not a re-ranker model")

    def _read(self, inputs: Any, *, truncate: bool) -> list[list[int]]:
        if not inputs:
            raise self.error(400, "Input validation error: `inputs` cannot be empty")
        if len(inputs) > 32:
            raise self.error(422, f"batch size {len(inputs)} > maximum allowed batch size 32")
        prompts = []
        for one in inputs:
            if not one:
                raise self.error(400, "Input validation error: `inputs` cannot be empty")
            text = one if isinstance(one, str) else self.model.tokenizer.decode(one)
            special = isinstance(one, str) or self._default_prompt is not None
            ids = self.model.encode((self._default_prompt or "") + text, special=special)
            if len(ids) > self.limit and not truncate:
                raise self.error(422, f"`inputs` must have less than {self.limit} tokens.")
            prompts.append(ids[: self.limit])
        return prompts

    def _embed(self, body: Any) -> Any:
        prompts = self._read(body["inputs"], truncate=body.get("truncate", True))
        size = body.get("dimensions")
        return [self.model.vector(ids)[:size].tolist() for ids in prompts]

    def _openai(self, body: Any) -> Any:
        try:
            prompts = self._read(body["input"], truncate=True)
        except Rejected as error:
            said = {"message": error.body["error"], "code": error.status}
            raise Rejected(error.status, {**said, "type": error.body["error_type"]}) from error
        vectors = [self.model.vector(ids) for ids in prompts]
        return openai_vectors(vectors, body, sum(map(len, prompts)))


class SGLangServer(ModelServer):
    """SGLang: an embedder with `--is-embedding`, a reranker without."""

    def __init__(
        self,
        folder: Path,
        role: Role,
        *,
        scoring: bool = True,
        template: str = "right",
        api_key: str | None = None,
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: The checkpoint.
            role: What the checkpoint is for.
            scoring: Whether `/v1/score` is there.
            template: "right" for SGLang's own; "roles" for one with the roles query and document,
                which comes out with empty texts; "fixed" for one that ignores the instruction.
            api_key: The key that is needed.
        """
        super().__init__(folder, role, api_key=api_key)
        self._scoring = scoring
        self._template = template

    def routes(self) -> Mapping[str, Route]:
        routes: dict[str, Route] = {"/model_info": self._info, "/v1/models": self._models}
        if self.role == "embedding":
            return {**routes, "/v1/embeddings": self._embeddings}
        scoring: dict[str, Route] = {"/v1/score": self._score} if self._scoring else {}
        return {**routes, **scoring, "/v1/rerank": self._rerank}

    def error(self, status: int, message: str) -> Rejected:
        return Rejected(status, {"object": "error", "message": message, "code": status})

    def _info(self, body: Any) -> Any:
        return {"model_path": "/model", "is_generation": self.role == "reranking"}

    def _models(self, body: Any) -> Any:
        card = {"id": self.name, "object": "model", "owned_by": "sglang"}
        return {"object": "list", "data": [{**card, "max_model_len": self.limit}]}

    def _embeddings(self, body: Any) -> Any:
        if body.get("dimensions") is not None:
            raise self.error(400, "Model does not support matryoshka representation.")
        if any(isinstance(one, str) and not one.strip() for one in body["input"]):
            raise self.error(400, "Input cannot be empty or whitespace only")
        prompts = _prompts(self, body["input"])
        self._checked(prompts)
        vectors = [self.model.vector(ids) for ids in prompts]
        return openai_vectors(vectors, body, sum(map(len, prompts)))

    def _score(self, body: Any) -> Any:
        prompts = [_joined(self, body["query"], item) for item in body["items"]]
        self._checked(prompts)
        scores = [self.model.shares(ids, body["label_token_ids"]) for ids in prompts]
        return {"scores": scores, "model": body["model"], "object": "scoring"}

    def _rerank(self, body: Any) -> Any:
        if not all(text.strip() for text in [body["query"], *body["documents"]]):
            raise self.error(400, "Each document cannot be empty or whitespace only")
        task = TASK if self._template == "fixed" else body.get("instruct") or TASK
        results = []
        for index, document in enumerate(body["documents"]):
            texts = ("", "") if self._template == "roles" else (body["query"], document)
            ids = self.model.encode(rendered(task, *texts))
            self._checked([ids])
            results.append(
                {
                    "score": self.model.shares(ids, self.model.answers)[0],
                    "document": document,
                    "index": index,
                    "meta_info": {"id": str(index), "prompt_tokens": len(ids)},
                }
            )
        return sorted(results, key=lambda one: -one["score"])

    def _checked(self, prompts: Sequence[Sequence[int]]) -> None:
        for ids in prompts:
            if len(ids) > self.limit:
                raise self.error(400, f"The input ({len(ids)} tokens) is longer than the context.")


def _prompts(server: ModelServer, given: Any) -> list[list[int]]:
    """Read the forms of OpenAI's `input`."""
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        given = [given]
    return [server.model.encode(one) if isinstance(one, str) else one for one in given]


def _joined(server: ModelServer, query: Any, item: Any) -> list[int]:
    if isinstance(query, str):
        return server.model.encode(query + item, special=False)
    return [*query, *item]
