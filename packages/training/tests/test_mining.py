"""Hard negatives and evaluation by a model, here or on a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Role
from qwen3_rag_testkit.served_models import served
from qwen3_rag_training import Example, evaluate, mine_negatives

CAPITAL = "What is the capital of France?"
PARIS, BERLIN = "Paris is the capital of France.", "Berlin is the capital of Germany."
BREAD = "Bread is baked from flour."
EXAMPLES = [
    Example(CAPITAL, PARIS),
    Example("What is the capital of Germany?", BERLIN, instruction="Find the city"),
    Example("How is bread made?", BREAD, (PARIS,)),
]
FURTHER = ["The river flows into the sea.", BERLIN]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[Role, str]]:
    with served("vllm") as urls:
        yield dict(urls)


@pytest.fixture(params=["here", "server"])
def running(request: pytest.FixtureRequest, servers: dict[Role, str]) -> dict[str, Any]:
    """How the embedder and the reranker are run."""
    if request.param == "here":
        return {"embedding": {}, "reranking": {}}
    return {role: {"backend": Remote(url)} for role, url in servers.items()}


def test_negatives_are_the_nearest_documents_that_do_not_answer(running: dict[str, Any]) -> None:
    with Qwen3Embedder("tiny", **running["embedding"]) as embedder:
        mined = mine_negatives(EXAMPLES, embedder, documents=FURTHER, count=2)
        query = embedder.embed_queries([EXAMPLES[1].query], instruction="Find the city")
        others = [PARIS, BREAD, FURTHER[0]]
        scores = (embedder.embed_documents(others) @ query.T)[:, 0]

    assert [one.query for one in mined] == [one.query for one in EXAMPLES]
    assert mined[0].negatives[0] == BERLIN
    assert mined[1].negatives == tuple(others[place] for place in np.argsort(-scores)[:2])
    assert all(one.positive not in one.negatives for one in mined)
    assert EXAMPLES[0].negatives == ()


def test_other_answers_to_the_same_query_are_no_negatives() -> None:
    also = "The capital of France is Paris."
    examples = [Example(CAPITAL, PARIS), Example(CAPITAL, also)]

    with Qwen3Embedder("tiny") as embedder:
        mined = mine_negatives(examples, embedder, documents=[BREAD])

    assert [one.negatives for one in mined] == [(BREAD,), (BREAD,)]


def test_documents_that_are_much_nearer_than_the_answer_are_left_out() -> None:
    example = Example(CAPITAL, BREAD)  # a poor answer

    with Qwen3Embedder("tiny") as embedder:
        strict = mine_negatives([example], embedder, documents=[PARIS, BERLIN], margin=0.05)
        loose = mine_negatives([example], embedder, documents=[PARIS, BERLIN], margin=2)

    assert PARIS not in strict[0].negatives
    assert loose[0].negatives[0] == PARIS


def test_wrong_values_are_refused() -> None:
    embedder = Qwen3Embedder("tiny")

    with pytest.raises(InputError, match="no examples"):
        mine_negatives([], embedder)
    with pytest.raises(InputError, match="`count` must be at least 1"):
        mine_negatives(EXAMPLES, embedder, count=0)
    with pytest.raises(InputError, match="no examples"):
        evaluate(embedder, [])
    with pytest.raises(InputError, match="no example has one"):
        evaluate(Qwen3Reranker("tiny"), EXAMPLES[:2])


def test_models_are_evaluated_by_trainings_metrics(running: dict[str, Any]) -> None:
    right, wrong = Example(CAPITAL, PARIS, (BREAD,)), Example(CAPITAL, BREAD, (PARIS,))
    with (
        Qwen3Embedder("tiny", **running["embedding"]) as embedder,
        Qwen3Reranker("tiny", **running["reranking"]) as reranker,
    ):
        found = [
            evaluate(embedder, [right]),
            evaluate(embedder, [wrong]),
            evaluate(reranker, [right, wrong]),
        ]

    assert found[0] == {"ndcg@10": 1.0}
    assert found[1]["ndcg@10"] == pytest.approx(1 / np.log2(3))
    assert found[2] == {"pair_accuracy": 0.5}
