"""The metrics are those of trec_eval, as ir-measures computes them."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from qwen3_rag import InputError
from qwen3_rag_evaluation import Metric, by_score, evaluate

#: Our names and those of ir-measures. Its MRR has no cutoff, so neither has the one compared.
NAMES = {
    "ndcg@1": "nDCG@1",
    "ndcg@10": "nDCG@10",
    "mrr@1000": "RR",
    "recall@5": "R@5",
    "recall@100": "R@100",
    "precision@3": "P@3",
    "precision@20": "P@20",
    "map@10": "AP@10",
    "map@1000": "AP",
    "success@1": "Success@1",
    "success@5": "Success@5",
}


def test_metrics_equal_those_of_ir_measures_on_1000_random_runs() -> None:
    ir_measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    measures = {name: ir_measures.parse_measure(known) for name, known in NAMES.items()}
    provider = ir_measures.providers.registry["pytrec_eval"]
    for seed in range(1_000):
        qrels, scores = _random_run(random.Random(seed))
        expected = {
            (one.query_id, str(one.measure)): one.value
            for one in provider.iter_calc([*measures.values()], qrels, scores)
        }

        run = {query: by_score(found) for query, found in scores.items()}
        got = evaluate(run, qrels, [*NAMES])

        for name, measure in measures.items():
            for query, value in zip(got.queries, got.values[name], strict=True):
                assert value == pytest.approx(
                    expected.get((query, str(measure)), 0.0), abs=1e-12
                ), (seed, name, query)


def _random_run(
    chance: random.Random,
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Draw graded judgements and a run with ties, missing queries and unjudged documents."""
    documents = [f"d{number}" for number in range(chance.choice([3, 30, 200]))]
    levels = chance.choice([2, 10, 1000])  # few levels make ties
    qrels: dict[str, dict[str, int]] = {}
    scores: dict[str, dict[str, float]] = {}
    for number in range(chance.randrange(1, 6)):
        judged = chance.sample(documents, chance.randrange(1, min(len(documents), 12) + 1))
        qrels[f"q{number}"] = {id_: chance.choice([0, 1, 1, 2, 3]) for id_ in judged}
        if chance.random() < 0.8:
            found = chance.sample(documents, chance.randrange(1, len(documents) + 1))
            scores[f"q{number}"] = {id_: float(chance.randrange(levels)) for id_ in found}
    scores["not judged"] = {documents[0]: 1.0}
    return qrels, scores


@pytest.mark.parametrize(
    ("name", "value"),
    [("mrr@1", 0.0), ("mrr@2", 0.5), ("MRR@10", 0.5), ("ndcg@2", 0.6309297535714575)],
)
def test_only_the_first_documents_count(name: str, value: float) -> None:
    assert Metric.parse(name).value(["a", "b"], {"b": 1}) == pytest.approx(value)


def test_a_grade_below_zero_is_irrelevant() -> None:
    grades: Mapping[str, float] = {"a": -2, "b": 1}

    assert Metric.parse("ndcg@10").value(["a", "b"], grades) == pytest.approx(0.6309297535714575)
    assert Metric.parse("recall@10").value(["b"], grades) == 1.0


@pytest.mark.parametrize("name", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@ten", "f1@10", ""])
def test_an_unknown_metric_is_named_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match=r"is no metric.*ndcg, mrr, recall.*'ndcg@10'"):
        Metric.parse(name)


def test_a_document_that_is_found_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="has a document twice: 'b'"):
        evaluate({"q": ["a", "b", "c", "b"]}, {"q": {"b": 1}})


def test_runs_are_compared_by_the_same_queries_and_known_metrics() -> None:
    one = evaluate({"q": ["a"]}, {"q": {"a": 1}}, ["ndcg@10"])
    other = evaluate({}, {"r": {"a": 1}}, ["ndcg@10"])

    with pytest.raises(InputError, match="same queries"):
        one.compare(other, "ndcg@10")
    with pytest.raises(InputError, match=r"'ndcg@5' was not computed; there are ndcg@10"):
        one.interval("ndcg@5")
    with pytest.raises(InputError, match="no judgements"):
        evaluate({"q": ["a"]}, {})
