"""`Served`: the models and indexes of a server, and the answers that all its protocols share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_rag import Embeddings, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import UNKNOWN, WHOLE, Limits, Prompt, Role
from qwen3_rag.integration import Closing, arguments_of, backend_of, check_query
from qwen3_rag.search import Searcher
from qwen3_rag_hybrid import HybridSearcher
from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.limits import within
from qwen3_rag_server.prompting import document_prompts, query_prompts
from qwen3_rag_server.tokens import PromptTokens

if TYPE_CHECKING:
    from qwen3_rag.chat import Chat

__all__ = ["QUERIES", "QUERY_SUFFIX", "Reranked", "Served"]

#: Tokens of a prompt where neither the caller nor the checkpoint has a limit.
DEFAULT_LENGTH = 8_192

#: The names that APIs have for queries.
QUERIES = ("query", "search_query")

#: Behind the name of the embedding model: texts are queries. For clients that send no other fields.
QUERY_SUFFIX = ":query"


@dataclass(frozen=True)
class Reranked:
    """The scores of one query's documents.

    Attributes:
        scores: Probabilities of "yes", in the order of the documents.
        logits: The same as log-odds.
        tokens: Number of tokens that were read.
        cut_at: For each document, the number of characters read; `None` if it was not cut.
    """

    scores: tuple[float, ...]
    logits: tuple[float, ...]
    tokens: int
    cut_at: tuple[int | None, ...]

    @property
    def order(self) -> list[int]:
        """The documents' indexes, best first; ties keep their order."""
        return sorted(range(len(self.scores)), key=lambda index: -self.logits[index])


class Served(Closing):
    """The models and indexes of a server.

    Attributes:
        embedder: The embedding model, if there is one.
        reranker: The reranker, if there is one.
        searchers: The indexes by name.
        chat: The chat model that answers questions, if there is one.
        embedding_name: The embedding model's name for clients: a folder's own, without its path.
        reranking_name: The reranker's, in the same way.
    """

    def __init__(
        self,
        embedder: Qwen3Embedder | None = None,
        reranker: Qwen3Reranker | None = None,
        searchers: Mapping[str, Searcher] | None = None,
        chat: Chat | None = None,
    ) -> None:
        """Set what is served. It is not closed by `close`, except for models made from it."""
        self.embedder, self.reranker = embedder, reranker
        self.embedding_name, self.reranking_name = _name(embedder), _name(reranker)
        self.searchers = dict(searchers or {})
        self.chat = chat
        # Models are made from the given one for other sizes and cuts; all share its weights.
        self._embedder_of = lru_cache(maxsize=256)(self._make_embedder)
        self._reranker_of = lru_cache(maxsize=256)(self._make_reranker)
        self._tokens_of = lru_cache(maxsize=2)(PromptTokens)

    def warm_up(self) -> None:
        """Load the models, so that the first request does not wait for that."""
        for model in (self.embedder, self.reranker):
            if model is not None:
                model.warm_up()

    def model(self, role: Role) -> Qwen3Embedder | Qwen3Reranker:
        """Return the model of a role.

        Raises:
            Refusal: There is none.
        """
        model = self.embedder if role == "embedding" else self.reranker
        if model is None:
            kind = "embedding model; it reranks" if role == "embedding" else "reranker; it embeds"
            raise Refusal(404, f"This server has no {kind}.")
        return model

    def name(self, role: Role) -> str:
        """Return a model's name for clients, "" without one."""
        return self.embedding_name if role == "embedding" else self.reranking_name

    async def tokens(self, role: Role) -> PromptTokens | None:
        """Return what encodes a model's prompts; `None` if another server runs it.

        Raises:
            Refusal: There is no such model.
            ModelError: The checkpoint is missing or broken.
        """
        model = self.model(role)
        if "backend" in arguments_of(model):
            return None
        await model.awarm_up()  # which fetches a checkpoint that is not here yet
        return await asyncio.to_thread(self._tokens_of, model)

    async def longest(self, role: Role) -> int:
        """Return the tokens of the longest prompt that is not cut."""
        model = self.model(role)
        capabilities = await model.awarm_up()
        limit = arguments_of(model)["max_length"]
        if limit is None:
            tokens = await self.tokens(role)
            limit = DEFAULT_LENGTH if tokens is None else tokens.longest
        return min(int(limit), capabilities.context)

    def are_queries(self, model: str | None, kind: str | None, instruction: str | None) -> bool:
        """Tell whether a request's texts are queries, in any of the ways that it can say so.

        Args:
            model: The model's name, which may have `QUERY_SUFFIX`; `None` for the only one.
            kind: What the texts are, by any API's name.
            instruction: What queries are for.

        Raises:
            Refusal: It names another model, or says two things.
        """
        if model == f"{self.embedding_name}{QUERY_SUFFIX}":
            if kind in (None, *QUERIES):
                return True
            raise Refusal(
                400,
                f"`model` ends in {QUERY_SUFFIX!r}, which is for queries, and `input_type` is "
                f"{kind!r}. Leave one of the two out.",
                "input_type",
            )
        if model is not None:
            self.check_name(model, self.embedding_name)
        return instruction is not None if kind is None else kind in QUERIES

    def check_name(self, given: str, known: str) -> None:
        """Check that a request names the model that answers it.

        Raises:
            Refusal: It names another one.
        """
        if given != known:
            told = f"This server has {known!r}." if known else "This server has none of this kind."
            raise Refusal(404, f"`model` is {given!r:.120}. {told}", "model")

    async def embed(
        self,
        texts: Sequence[str],
        *,
        as_queries: bool,
        instruction: str | None = None,
        dim: int | None = None,
        max_length: int | None = None,
        may_cut: bool = False,
        normalize: bool = True,
        name: str = "input",
    ) -> Embeddings:
        """Embed texts.

        Args:
            texts: The texts.
            as_queries: Whether they are queries.
            instruction: What queries are for; defaults to the model's.
            dim: Size of the vectors; defaults to the server's.
            max_length: Tokens to read of each text, which is then cut.
            may_cut: Whether a text that is too long is cut, instead of being refused.
            normalize: Whether the vectors get unit length.
            name: The field of the texts, for messages.

        Raises:
            Refusal: There is no embedding model, or a text is too long.
            Qwen3RagError: See `Qwen3Embedder.embed_queries`.
        """
        self.model("embedding")
        if instruction is not None and not as_queries:
            raise Refusal(
                400,
                "`instruction` is for queries, and these texts are documents, which have none. Add "
                '`"input_type": "query"`, or leave it out.',
                "instruction",
            )
        embedder = self._embedder_of(dim, max_length)
        if not normalize:
            made = await self._embed_raw(embedder, texts, as_queries, instruction)
        elif as_queries:
            made = await embedder.aembed_queries(texts, instruction=instruction, details=True)
        else:
            made = await embedder.aembed_documents(texts, details=True)
        if not may_cut and max_length is None:
            _refuse_cuts(made.cut_at, name)
        return made

    async def prompts(
        self, texts: Sequence[str], as_queries: bool, instruction: str | None = None
    ) -> list[Prompt]:
        """Make the prompts of texts to embed.

        Raises:
            InputError: A query is blank.
        """
        assert self.embedder is not None
        capabilities = await self.embedder.awarm_up()
        if as_queries:
            return query_prompts(self.embedder, capabilities, texts, instruction)
        return document_prompts(self.embedder, capabilities, texts)

    async def _embed_raw(
        self,
        embedder: Qwen3Embedder,
        texts: Sequence[str],
        as_queries: bool,
        instruction: str | None,
    ) -> Embeddings:
        """Embed texts without giving the vectors unit length."""
        await embedder.awarm_up()  # checks the size
        prompts = await self.prompts(texts, as_queries, instruction)
        limits = Limits(embedder.max_length)
        output = await asyncio.wrap_future(backend_of(embedder).run(prompts, limits))
        cut_at = (None if cut == WHOLE else cut for cut in output.cut_at.tolist())
        tokens = None if output.tokens is None else tuple(output.tokens.tolist())
        return Embeddings(output.values[:, : embedder.dim], tokens, tuple(cut_at))

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        max_document_tokens: int | None = None,
        max_length: int | None = None,
        may_cut: bool = False,
        name: str = "documents",
    ) -> Reranked:
        """Score documents.

        Args:
            query: The query.
            documents: The documents.
            instruction: What counts as an answer; defaults to the reranker's.
            max_document_tokens: Tokens to read of each document, which is then cut.
            max_length: Tokens of a pair's whole prompt, for which its document is cut.
            may_cut: Whether a document that is too long is cut, instead of being refused.
            name: The field of the documents, for messages.

        Raises:
            Refusal: There is no reranker, or a text is too long.
            Qwen3RagError: See `Qwen3Reranker.score`.
        """
        self.model("reranking")
        check_query(query)
        reranker = self._reranker_of(max_document_tokens, max_length)
        pairs = [(query, document) for document in documents]
        made = await reranker.ascore(pairs, instruction=instruction, details=True)
        if not may_cut:
            _refuse_cuts(made.query_cut_at[:1], "query")
            if max_document_tokens is None and max_length is None:
                _refuse_cuts(made.cut_at, name)
        return Reranked(made.scores, made.logits, sum(made.tokens or ()), made.cut_at)

    def defaults(self) -> dict[str, dict[str, Any]]:
        """Return the options of a search by index, for those that can be searched with others."""
        found = {}
        for name, searcher in self.searchers.items():
            if isinstance(searcher, HybridSearcher):
                pipeline = searcher.pipeline
                found[name] = {
                    "candidates": pipeline.candidates,
                    "rerank_depth": pipeline.rerank_depth,
                    "reranks": pipeline.reranker is not None,
                    "weights": {name: 1.0 for name in pipeline.retrievers}
                    | dict(pipeline.weights or {}),
                    "fusion": pipeline.fusion,
                }
        return found

    def close(self) -> None:
        """Release the models that were made for other sizes and cuts."""
        self._embedder_of.cache_clear()
        self._reranker_of.cache_clear()
        self._tokens_of.cache_clear()

    def _make_embedder(self, dim: int | None, max_length: int | None) -> Qwen3Embedder:
        assert self.embedder is not None
        given = arguments_of(self.embedder)
        changed = {
            **given,
            **within(given, {"max_length": max_length}),
            "dim": given["dim"] if dim is None else dim,
        }
        return self.embedder if changed == given else Qwen3Embedder(**changed)

    def _make_reranker(
        self, max_document_tokens: int | None, max_length: int | None
    ) -> Qwen3Reranker:
        assert self.reranker is not None
        given = arguments_of(self.reranker)
        asked = {"max_document_tokens": max_document_tokens, "max_length": max_length}
        changed = {**given, **within(given, asked)}
        return self.reranker if changed == given else Qwen3Reranker(**changed)


def _name(model: Qwen3Embedder | Qwen3Reranker | None) -> str:
    if model is None:
        return ""
    return Path(model.model).name if Path(model.model).is_dir() else model.model


def _refuse_cuts(cut_at: Sequence[int | None], name: str) -> None:
    for index, cut in enumerate(cut_at):
        if cut is None:
            continue
        where = name if name == "query" else f"{name}[{index}]"
        read = "may be read in part" if cut == UNKNOWN else f"only {cut:,} characters would be read"
        raise Refusal(
            400,
            f"`{where}` is longer than the model's limit: {read}. Split the text, or allow that it "
            'is cut with `"truncate": true`.',
            name,
        )
