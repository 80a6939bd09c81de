"""What a query engine sees of `Qwen3Rerank`: new nodes, best first, and events of both kinds."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.llama_debug import LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # LlamaIndex re-exports it unsaid
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)

from llama_index.postprocessor.qwen3_rag import Qwen3Rerank, RankedNode
from qwen3_rag import BackendError, InputError, Qwen3Reranker, RankScore
from qwen3_rag.backends import Backend, BackendSpec, Role
from qwen3_rag_testkit.backends import DeterministicBackend, RunningDeterministic
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking

QUERY = "what is the capital of France"


def core(**settings: Any) -> Qwen3Reranker:
    return Qwen3Reranker("mine", backend=DeterministicBackend("reranking"), **settings)


def adapter(reranker: Qwen3Reranker | None = None, **fields: Any) -> Qwen3Rerank:
    fields = {"top_n": None, **fields}
    return Qwen3Rerank.from_reranker(reranker or core(), **fields)


def nodes(texts: list[str] = TEXTS) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=f"n{i}", text=text), score=i / 10)
        for i, text in enumerate(texts)
    ]


def ids(found: list[NodeWithScore]) -> list[str]:
    return [node.node_id for node in found]


def test_order_scores_and_texts_are_the_core_s() -> None:
    ranked = core().rank(QUERY, TEXTS)

    found = adapter().postprocess_nodes(nodes(), query_str=QUERY)

    assert ids(found) == [f"n{hit.index}" for hit in ranked]
    assert [node.score for node in found] == [hit.score for hit in ranked]
    assert [node.text for node in found] == [hit.document for hit in ranked]
    assert all(type(node.score) is float for node in found)


def test_the_small_pair_gives_the_core_s_scores() -> None:
    with Qwen3Reranker("tiny") as reranker:
        expected = [hit.score for hit in reranker.rank(QUERY, TEXTS)]

    with Qwen3Rerank(model="tiny", top_n=None) as rerank:
        found = rerank.postprocess_nodes(nodes(), query_str=QUERY)

    assert [node.score for node in found] == pytest.approx(expected, abs=1e-5)


def test_async_gives_the_same() -> None:
    expected = adapter().postprocess_nodes(nodes(), query_str=QUERY)

    found = asyncio.run(adapter().apostprocess_nodes(nodes(), QueryBundle(QUERY)))

    assert found == expected


def test_top_n_keeps_the_best() -> None:
    everything = adapter().postprocess_nodes(nodes(), query_str=QUERY)

    assert adapter(top_n=2).postprocess_nodes(nodes(), query_str=QUERY) == everything[:2]
    assert adapter(top_n=100).postprocess_nodes(nodes(), query_str=QUERY) == everything
    assert Qwen3Rerank().top_n == 5
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Qwen3Rerank(top_n=0)


@pytest.mark.parametrize("score", ["probability", "logit"])
def test_nodes_below_a_score_are_left_out(score: str) -> None:
    everything = adapter(score=score).postprocess_nodes(nodes(), query_str=QUERY)
    least = everything[1].score

    found = adapter(score=score, min_score=least).postprocess_nodes(nodes(), query_str=QUERY)

    assert found == everything[:2]
    with pytest.raises(ValueError, match="`min_score` must be a number or None, got nan"):
        Qwen3Rerank(min_score=math.nan)


def test_the_logit_can_be_the_score() -> None:
    logits = adapter(score="logit").postprocess_nodes(nodes(), query_str=QUERY)
    probabilities = adapter().postprocess_nodes(nodes(), query_str=QUERY)

    assert ids(logits) == ids(probabilities)
    for logit, probability in zip(logits, probabilities, strict=True):
        assert 1 / (1 + math.exp(-logit.get_score())) == pytest.approx(probability.score)


def test_ties_keep_their_order() -> None:
    found = adapter().postprocess_nodes(nodes(["same"] * 5), query_str=QUERY)

    assert ids(found) == ["n0", "n1", "n2", "n3", "n4"]


def test_the_instruction_reaches_the_model() -> None:
    expected = core().rank(QUERY, TEXTS, instruction="Find code")

    found = adapter(core(instruction="Find code")).postprocess_nodes(nodes(), query_str=QUERY)

    assert [node.score for node in found] == [hit.score for hit in expected]


@pytest.mark.parametrize("keep", [True, False])
def test_nodes_given_are_not_changed(keep: bool) -> None:
    given = nodes()
    before, alone = copy.deepcopy(given), list(given)

    found = adapter(keep_retrieval_score=keep).postprocess_nodes(given, query_str=QUERY)

    assert given == before
    assert all(left is right for left, right in zip(given, alone, strict=True))
    assert not {id(node) for node in found} & {id(node) for node in given}


def test_the_retrieval_score_is_kept_beside_the_node() -> None:
    given = NodeWithScore(node=TextNode(text="a", metadata={"path": "a.md"}), score=0.25)

    [found] = adapter(keep_retrieval_score=True).postprocess_nodes([given], query_str=QUERY)

    assert isinstance(found, RankedNode)
    assert found.ranks == {
        "retrieval": RankScore(1, 0.25),
        "rerank": RankScore(1, found.get_score()),
    }
    assert found.node == given.node
    [unscored] = adapter(keep_retrieval_score=True).postprocess_nodes(
        [NodeWithScore(node=TextNode(text="a"))], query_str=QUERY
    )
    [plain] = adapter().postprocess_nodes([given], query_str=QUERY)
    for node in (unscored, plain):
        assert isinstance(node, RankedNode)
        assert [*node.ranks] == ["rerank"]


def test_ranks_that_a_node_comes_with_are_kept() -> None:
    ranks = {"dense": RankScore(3, 0.5), "rerank": RankScore(9, 0.1)}
    given: list[NodeWithScore] = [
        RankedNode(node=node.node, score=node.score, ranks=ranks) for node in nodes()
    ]

    found = adapter(keep_retrieval_score=True).postprocess_nodes(given, query_str=QUERY)

    for rank, node in enumerate(found, 1):
        assert isinstance(node, RankedNode)
        place = ids(given).index(node.node_id)
        assert node.ranks == {
            "dense": RankScore(3, 0.5),
            "retrieval": RankScore(place + 1, place / 10),
            "rerank": RankScore(rank, node.get_score()),
        }
    assert all(isinstance(node, RankedNode) and node.ranks == ranks for node in given)


def test_results_are_written_copied_and_pickled_with_their_ranks() -> None:
    [found] = adapter(top_n=1).postprocess_nodes(nodes(), query_str=QUERY)
    assert isinstance(found, RankedNode)

    rerank = {"rank": 1, "score": found.score}
    assert found.to_dict()["ranks"] == json.loads(found.to_json())["ranks"] == {"rerank": rerank}
    assert found.to_dict()["class_name"] == "RankedNode"
    node = TextNode.from_dict(found.to_dict()["node"])
    assert RankedNode.from_dict({**found.to_dict(), "node": node}) == found
    for again in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert again == found
        assert again.ranks == found.ranks


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (MetadataMode.EMBED, "path: a.md\n\nline one\nline two"),
        (MetadataMode.LLM, "author: me\n\nline one\nline two"),
        (MetadataMode.NONE, "line one\nline two"),
    ],
)
def test_the_metadata_mode_says_what_the_model_reads(mode: MetadataMode, text: str) -> None:
    node = TextNode(
        text="line one\nline two",
        metadata={"path": "a.md", "author": "me"},
        excluded_embed_metadata_keys=["author"],
        excluded_llm_metadata_keys=["path"],
    )
    [expected] = core().score([(QUERY, text)])

    [found] = adapter(metadata_mode=mode).postprocess_nodes(
        [NodeWithScore(node=node)], query_str=QUERY
    )

    assert found.score == expected


def test_nodes_of_other_kinds_keep_their_kind() -> None:
    given = [
        NodeWithScore(node=IndexNode(text="a", index_id="index")),
        NodeWithScore(node=ImageNode(text="b", image_url="http://127.0.0.1/b.png")),
    ]

    found = adapter(keep_retrieval_score=True).postprocess_nodes(given, query_str=QUERY)

    assert {type(node.node) for node in found} == {IndexNode, ImageNode}
    assert ids(sorted(found, key=ids_key)) == ids(sorted(given, key=ids_key))


def ids_key(node: NodeWithScore) -> str:
    return node.node_id


def test_no_nodes_give_no_nodes_and_load_no_model() -> None:
    assert Qwen3Rerank(model="no/such-model").postprocess_nodes([], query_str=QUERY) == []
    assert asyncio.run(adapter().apostprocess_nodes([], query_str=QUERY)) == []


def test_a_missing_query_is_an_error() -> None:
    with pytest.raises(InputError, match="Reranking needs the query"):
        adapter().postprocess_nodes(nodes())
    with pytest.raises(InputError, match="Reranking needs the query"):
        asyncio.run(adapter().apostprocess_nodes(nodes()))


def test_the_event_loop_keeps_ticking() -> None:
    with Qwen3Rerank(model="slow", backend=SlowBackend()) as rerank:
        found = asyncio.run(keeps_ticking(rerank.apostprocess_nodes(nodes(), query_str=QUERY)))

    assert len(found) == 5


class Events(BaseEventHandler):
    """Keeps the events it hears."""

    heard: list[Any] = []  # noqa: RUF012  # pydantic copies it for each

    def handle(self, event: Any, **rest: Any) -> None:
        self.heard.append(event)

    def named(self, *kinds: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kinds)]


@pytest.fixture
def events() -> Iterator[Events]:
    root, handler = get_dispatcher("root"), Events()
    before = list(root.event_handlers)
    root.add_event_handler(handler)
    yield handler
    root.event_handlers[:] = before


def rerank_by(how: str, rerank: Qwen3Rerank, given: list[NodeWithScore]) -> list[NodeWithScore]:
    if how == "sync":
        return rerank.postprocess_nodes(given, query_str=QUERY)
    return asyncio.run(rerank.apostprocess_nodes(given, query_str=QUERY))


BOTH = pytest.mark.parametrize("how", ["sync", "async"])


@BOTH
@pytest.mark.parametrize("count", [0, 4])
def test_both_event_systems_hear_start_and_end(how: str, count: int, events: Events) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    rerank = adapter(top_n=2, callback_manager=CallbackManager([debug]))
    given = nodes()[:count]

    found = rerank_by(how, rerank, given)

    start, end = events.named(ReRankStartEvent, ReRankEndEvent)
    assert (start.query, start.top_n, start.model_name) == (QUERY, 2, "mine")
    assert ids(start.nodes) == ids(given)
    assert end.nodes == found
    [[began, ended]] = debug.get_event_pairs(CBEventType.RERANKING)
    assert began.payload == {
        EventPayload.NODES: given,
        EventPayload.MODEL_NAME: "mine",
        EventPayload.QUERY_STR: QUERY,
        EventPayload.TOP_K: 2,
    }
    assert ended.payload == {EventPayload.NODES: found}


@dataclass(frozen=True)
class Broken(BackendSpec, kind="llama-index-tests-broken"):
    """Opens to a backend that was closed."""

    def start(self, model: str, role: Role) -> Backend:
        backend = RunningDeterministic(role, 64)
        backend.close()
        return backend


@BOTH
def test_an_error_ends_what_was_started(how: str, events: Events) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    rerank = Qwen3Rerank(model="mine", backend=Broken(), callback_manager=CallbackManager([debug]))

    with pytest.raises(BackendError, match="closed"):
        rerank_by(how, rerank, nodes())

    _, end = events.named(ReRankStartEvent, ReRankEndEvent)
    assert end.nodes == []
    [[_, ended]] = debug.get_event_pairs(CBEventType.RERANKING)
    assert ended.payload is not None
    assert isinstance(ended.payload[EventPayload.EXCEPTION], BackendError)


def test_a_missing_query_starts_nothing(events: Events) -> None:
    with pytest.raises(InputError):
        adapter().postprocess_nodes(nodes())

    assert events.named(ReRankStartEvent, ReRankEndEvent) == []


def test_returning_everything_is_told_as_a_number(events: Events) -> None:
    adapter(top_n=None).postprocess_nodes(nodes()[:3], query_str=QUERY)

    [start] = events.named(ReRankStartEvent)
    assert start.top_n == 3


@BOTH
def test_each_reranking_is_one_span(how: str) -> None:
    root, spans = get_dispatcher("root"), SimpleSpanHandler()
    before = list(root.span_handlers)
    root.add_span_handler(spans)

    rerank_by(how, adapter(), nodes())

    root.span_handlers[:] = before
    method = "_postprocess_nodes" if how == "sync" else "_apostprocess_nodes"
    assert [span.id_.split("-")[0] for span in spans.completed_spans] == [f"Qwen3Rerank.{method}"]


def test_it_is_a_postprocessor_by_name_and_kind() -> None:
    assert BaseNodePostprocessor in Qwen3Rerank.__mro__
    assert Qwen3Rerank.class_name() == "Qwen3Rerank"
