"""Base of the stand-ins of model servers: a checkpoint behind HTTP, computed with transformers."""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from qwen3_rag.backends import Role
from qwen3_rag_testkit.http_server import LoopbackServer

__all__ = [
    "Model",
    "ModelServer",
    "Rejected",
    "Route",
    "cosine",
    "openai_vectors",
    "started_once",
]

Route = Callable[[Any], Any]


class Rejected(Exception):
    """A request that the server answers with an error.

    Attributes:
        status: The HTTP status.
        body: What is sent with it.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class Model:
    """A checkpoint that computes on token ids, one sequence at a time."""

    def __init__(self, folder: Path) -> None:
        """Load tokenizer and weights."""
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._lock = Lock()
        self._state = lru_cache(4_096)(self._compute)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Encode as a server does: control tokens in the text are taken as such."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special)
        return ids

    def vector(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the unit vector of the last token."""
        state = self._state(tuple(ids))
        vector: NDArray[np.float32] = torch.nn.functional.normalize(state, dim=0).numpy()
        return vector

    def shares(self, ids: Sequence[int], labels: Sequence[int]) -> list[float]:
        """Return the probabilities of some tokens as the next one, among themselves."""
        weights = self._model.get_output_embeddings().weight[list(labels)]
        with torch.no_grad():
            logits = weights @ self._state(tuple(ids))
        shares: list[float] = torch.softmax(logits.double(), dim=0).tolist()
        return shares

    @cached_property
    def answers(self) -> list[int]:
        """The ids of "yes" and "no"."""
        ids: list[int] = self.tokenizer.convert_tokens_to_ids(["yes", "no"])
        return ids

    def _compute(self, ids: tuple[int, ...]) -> torch.Tensor:
        with self._lock, torch.no_grad():
            states: torch.Tensor = self._model.model(torch.tensor([ids])).last_hidden_state
        return states[0, -1]


@lru_cache(4)
def _load(folder: Path) -> Model:
    return Model(folder)


class ModelServer(ABC):
    """A context manager that serves one checkpoint on a free loopback port.

    Attributes:
        url: The server's address.
        limit: Longest input in tokens.
        requests: Paths and JSON bodies of the POST requests so far, in order.
        asked: Paths of all requests so far, in order.
    """

    def __init__(
        self, folder: Path, role: Role, *, name: str = "served", api_key: str | None = None
    ) -> None:
        """Load the checkpoint.

        Args:
            folder: The checkpoint.
            role: Whether the server embeds or reranks.
            name: The model's name on the server.
            api_key: The key without which guarded paths are refused.
        """
        self.model = _load(folder)
        self.role = role
        self.name = name
        self.requests: list[tuple[str, Any]] = []
        self.asked: list[str] = []
        self._api_key = api_key
        self.limit = 4_096

    @abstractmethod
    def routes(self) -> Mapping[str, Route]:
        """Return what answers each path; those of GET requests get `None`."""

    def is_guarded(self, path: str) -> bool:
        """Whether a path needs the key."""
        return path != "/health"

    def error(self, status: int, message: str) -> Rejected:
        """Make an error of the server's shape."""
        return Rejected(status, {"error": {"message": message, "code": status}})

    def __enter__(self) -> ModelServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._handle(self, None)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                owner._handle(self, json.loads(self.rfile.read(length)))

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = LoopbackServer(0, Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()

    def _handle(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        status = 200
        try:
            answer = self._answer(handler, body)
        except Rejected as error:
            status, answer = error.status, error.body
        data = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> Any:
        path = urlsplit(handler.path).path  # a whole address if this stands in for a proxy
        self.asked.append(path)
        guarded = self._api_key is not None and self.is_guarded(path)
        if guarded and handler.headers["Authorization"] != f"Bearer {self._api_key}":
            raise self.error(401, "Unauthorized")
        if path not in self.routes():
            raise Rejected(404, {"detail": "Not Found"})
        if body is not None:
            self.requests.append((path, body))
        return self.routes()[path](body)


def cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Return the cosine of two unit vectors."""
    return float(left @ right)


def openai_vectors(
    vectors: Sequence[NDArray[np.float32]], body: Mapping[str, Any], tokens: int
) -> dict[str, Any]:
    """Make an answer in the shape of OpenAI's API."""

    def encoded(vector: NDArray[np.float32]) -> Any:
        if body.get("encoding_format") == "base64":
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        return vector.tolist()

    data = [
        {"object": "embedding", "index": index, "embedding": encoded(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


@contextmanager
def started_once(
    kinds: Mapping[str, Callable[[], ModelServer]],
) -> Iterator[Callable[[str], ModelServer]]:
    """Start each server when it is first asked for by its name, and end all with the context."""
    started: dict[str, ModelServer] = {}
    with ExitStack() as stack:

        def start(name: str) -> ModelServer:
            if name not in started:
                started[name] = stack.enter_context(kinds[name]())
            return started[name]

        yield start
