"""Fusion: one order for the same lists, whoever returned them and in whatever order."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag._results import RankScore
from qwen3_rag.errors import InputError, InputTypeError
from qwen3_rag.fusion import Fused, FusionMethod, Id, fuse, relative_score, rrf, tied

RankedList = list[tuple[Id, float]]
METHODS = pytest.mark.parametrize("method", [rrf, relative_score])

ids = st.integers(0, 20) | st.text("ab1", max_size=2)
# Few distinct values, so that ties are the rule.
ranked = st.lists(st.tuples(ids, st.integers(-3, 3).map(lambda n: n / 4)), max_size=15)
lists_of = st.dictionaries(st.sampled_from(["dense", "bm25", "third"]), ranked)
weights_of = st.dictionaries(
    st.sampled_from(["dense", "bm25", "third"]), st.integers(0, 8).map(lambda n: n / 4)
)


def order(hits: list[Fused]) -> list[Id]:
    return [hit.id for hit in hits]


def sort_key(id_: Id) -> tuple[int, Id]:
    return (1, id_) if isinstance(id_, str) else (0, id_)


# RRF.


def test_rrf_adds_one_over_k_plus_rank() -> None:
    hits = rrf({"dense": [("a", 0.9), ("b", 0.8)], "bm25": [("b", 7.0), ("c", 2.0)]}, k=10)

    assert order(hits) == ["b", "a", "c"]
    assert [hit.score for hit in hits] == pytest.approx([1 / 12 + 1 / 11, 1 / 11, 1 / 12])


def test_rrf_uses_sixty_unless_told() -> None:
    assert rrf({"dense": [("a", 0.5)]})[0].score == 1 / 61


def test_rrf_weights_multiply_and_default_to_one() -> None:
    hits = rrf({"dense": [("a", 1.0)], "bm25": [("b", 1.0)]}, weights={"bm25": 2.5})

    assert order(hits) == ["b", "a"]
    assert [hit.score for hit in hits] == pytest.approx([2.5 / 61, 1 / 61])


def test_rrf_ignores_how_far_apart_scores_are() -> None:
    near = rrf({"dense": [("a", 0.9), ("b", 0.8)]})
    far = rrf({"dense": [("a", 900.0), ("b", -8.0)]})

    assert [(hit.id, hit.score) for hit in near] == [(hit.id, hit.score) for hit in far]


def test_rrf_tie_of_three_lists_is_not_broken_by_rounding() -> None:
    x, y, z = (1 / (2 + rank) for rank in (1, 2, 3))
    assert (x + y) + z != (y + z) + x  # what adding up ranked by ranked would give "c" and "b"

    hits = rrf(
        {
            "one": [("c", 3.0), ("b", 2.0), ("a", 1.0)],
            "two": [("a", 3.0), ("c", 2.0), ("b", 1.0)],
            "three": [("b", 3.0), ("a", 2.0), ("c", 1.0)],
        },
        k=2,
    )

    assert order(hits) == ["a", "b", "c"]
    assert len({hit.score for hit in hits}) == 1


# Relative score.


def test_relative_score_shares_the_weight_by_the_squares_of_the_relative_scores() -> None:
    hits = relative_score({"dense": [("a", 0.9), ("b", 0.6), ("c", 0.5)], "bm25": [("d", 12.0)]})

    # Relative scores 1, 1/2 and 1/3.
    assert order(hits) == ["d", "a", "b", "c"]
    assert [hit.score for hit in hits] == pytest.approx([1, 36 / 49, 9 / 49, 4 / 49])


def test_relative_score_trusts_the_retriever_whose_best_hit_stands_out() -> None:
    flat: RankedList = [(f"flat {n}", 0.70 - n / 100) for n in range(20)]
    clear: RankedList = [("clear", 20.0), *((f"other {n}", 5.0 - n / 10) for n in range(20))]

    hits = relative_score({"dense": flat, "bm25": clear})

    assert order(hits)[:2] == ["clear", "flat 0"]
    assert hits[0].score > 4 * hits[1].score


def test_relative_score_of_a_hit_falls_with_the_number_of_hits_about_as_good() -> None:
    few = relative_score({"bm25": [("a", 3.0), ("b", 2.9), ("c", 1.0)]})
    many = relative_score({"bm25": [("a", 3.0), *((n, 2.9) for n in range(9)), ("c", 1.0)]})

    assert few[0].id == many[0].id == "a"
    assert many[0].score < few[0].score / 3


def test_relative_score_counts_the_last_of_a_list_more_than_one_not_found() -> None:
    two = relative_score({"dense": [("a", 0.9), ("b", 0.8)], "bm25": [("c", 9.0), ("b", 8.0)]})
    three = relative_score(
        {"dense": [("a", 0.9), ("b", 0.8)], "bm25": [("c", 9.0), ("b", 8.0)], "third": [("b", 0.4)]}
    )

    assert [hit.id for hit in two] == ["a", "c", "b"]
    assert [hit.score for hit in two] == pytest.approx([0.8, 0.8, 0.4])
    assert order(three) == ["b", "a", "c"]


@METHODS
def test_hits_of_a_retriever_without_weight_follow_all_others(
    method: Callable[..., list[Fused]],
) -> None:
    lists: dict[str, RankedList] = {
        "dense": [("y", 0.9), ("z", 0.8)],
        "bm25": [("a", 9.0), ("b", 8.0)],
    }

    assert order(method(lists, weights={"bm25": 0})) == ["y", "z", "a", "b"]


def test_relative_score_does_not_make_a_tiny_difference_the_whole_weight() -> None:
    [best, last] = relative_score({"dense": [("a", 0.50002), ("b", 0.5)]})

    assert (best.score, last.score) == pytest.approx((0.8, 0.2))


def test_relative_score_weights_multiply_and_default_to_one() -> None:
    lists: dict[str, RankedList] = {
        "dense": [("a", 2.0), ("b", 1.0)],
        "bm25": [("b", 5.0), ("a", 4.0)],
    }

    hits = relative_score(lists, weights={"bm25": 0.25})

    assert order(hits) == ["a", "b"]
    assert [hit.score for hit in hits] == pytest.approx([0.8 + 0.2 / 4, 0.2 + 0.8 / 4])


@pytest.mark.parametrize("scores", [[0.0], [-4.0], [3.0, 3.0], [3.0, 3.000001, 3.0]])
def test_relative_score_shares_the_weight_equally_in_a_list_without_distances(
    scores: list[float],
) -> None:
    hits = relative_score({"dense": list(enumerate(scores))}, weights={"dense": 0.5})

    assert [hit.score for hit in hits] == [0.5 / len(scores)] * len(scores)


def test_relative_score_tie_on_paper_is_a_tie() -> None:
    # On paper both get the shares of 0.9 and 0.4; as floats "b" is 6e-17 ahead.
    lists: dict[str, RankedList] = {
        "dense": [("top", 1.0), ("b", 0.9), ("a", 0.4), ("low", 0.3)],
        "bm25": [("top", 1.1), ("b", 0.44), ("a", 0.99), ("low", 0.33)],
    }
    hits = relative_score(lists)
    scores = {hit.id: hit.score for hit in hits}

    assert scores["a"] == pytest.approx(scores["b"], abs=1e-12)
    assert scores["a"] != scores["b"]
    assert order(hits) == ["top", "a", "b", "low"]
    assert order(relative_score(lists, limit=2)) == ["top", "a"]


# Ties, ids, duplicates.


@METHODS
@pytest.mark.parametrize(("scale", "apart"), [(0.5, 4e-7), (0.5, 6e-7), (20.0, 8e-6), (20.0, 2e-5)])
def test_scores_as_near_as_engines_compute_them_are_ordered_by_id(
    method: Callable[..., list[Fused]], scale: float, apart: float
) -> None:
    one = method({"dense": [("b", scale + apart), ("a", scale), ("c", scale - 0.1)]})
    other = method({"dense": [("b", scale), ("a", scale + apart), ("c", scale - 0.1)]})

    are_tied = apart < 5e-7 * max(scale, 1)
    assert tied(scale + apart, scale) is are_tied
    assert order(one) == (["a", "b", "c"] if are_tied else ["b", "a", "c"])
    assert order(other) == ["a", "b", "c"]
    assert [hit.ranks["dense"].rank for hit in one] == [1, 2, 3]
    if method is relative_score:
        assert (one[0].score == one[1].score) is are_tied


@METHODS
@pytest.mark.parametrize("start", [0.123455, 0.5, 0.8999995, 1e-6])
def test_a_score_on_either_side_of_a_round_number_ties_with_one_beside_it(
    method: Callable[..., list[Fused]], start: float
) -> None:
    lists = [
        {"dense": [("b", start + one), ("a", start + other), ("c", start - 0.01)]}
        for one in (-1e-7, 1e-7)
        for other in (-1e-7, 1e-7)
    ]

    assert {tuple(order(method(each))) for each in lists} == {("a", "b", "c")}


@METHODS
def test_hits_connected_by_ties_are_one_tie(method: Callable[..., list[Fused]]) -> None:
    ranked: RankedList = [(f"hit {9 - n}", 0.5 - n * 3e-7) for n in range(10)]
    ranked.append(("apart", 0.4))

    hits = method({"dense": ranked})

    assert order(hits) == [*(f"hit {n}" for n in range(10)), "apart"]
    assert [hit.ranks["dense"] for hit in hits[::9]] == [
        RankScore(1, 0.5 - 9 * 3e-7),
        RankScore(10, 0.5),
    ]


@METHODS
def test_tied_ids_come_numbers_first_each_ascending(method: Callable[..., list[Fused]]) -> None:
    ranked: RankedList = [(id_, 1.0) for id_ in ("b", 10, "a", 9, "10", "", -1)]

    assert order(method({"dense": ranked})) == [-1, 9, 10, "", "10", "a", "b"]


@METHODS
def test_fused_ties_are_ordered_by_id_not_by_retriever(method: Callable[..., list[Fused]]) -> None:
    assert order(method({"dense": [("b", 1.0)], "bm25": [("a", 1.0)]})) == ["a", "b"]


@METHODS
def test_number_and_string_of_the_same_digits_are_two_ids(
    method: Callable[..., list[Fused]],
) -> None:
    hits = method({"dense": [(1, 2.0)], "bm25": [("1", 2.0)]})

    assert order(hits) == [1, "1"]


@METHODS
@pytest.mark.parametrize("ranked", [[("a", 1.0), ("b", 2.0), ("a", 3.0)], [("a", 3.0), ("b", 2.0)]])
def test_an_id_twice_in_a_list_counts_once_with_its_better_score(
    method: Callable[..., list[Fused]], ranked: RankedList
) -> None:
    hits = method({"dense": ranked})

    assert order(hits) == ["a", "b"]
    assert hits[0].ranks == {"dense": RankScore(1, 3.0)}
    assert hits[1].ranks == {"dense": RankScore(2, 2.0)}


@METHODS
def test_every_hit_keeps_rank_and_unrounded_score_of_each_retriever_that_found_it(
    method: Callable[..., list[Fused]],
) -> None:
    hits = method({"dense": [("a", 0.123456789)], "bm25": [("b", 9.0), ("a", 8.0)]})

    lists = {hit.id: hit.ranks for hit in hits}
    assert lists == {
        "a": {"dense": RankScore(1, 0.123456789), "bm25": RankScore(2, 8.0)},
        "b": {"bm25": RankScore(1, 9.0)},
    }


@METHODS
@pytest.mark.parametrize("lists", [{}, {"dense": []}, {"dense": [], "bm25": []}])
def test_nothing_found_is_nothing_fused(
    method: Callable[..., list[Fused]], lists: dict[str, RankedList]
) -> None:
    assert method(lists) == []


@METHODS
def test_an_empty_list_changes_nothing(method: Callable[..., list[Fused]]) -> None:
    ranked: RankedList = [("a", 2.0), ("b", 1.0)]

    assert method({"dense": ranked, "bm25": []}) == method({"dense": ranked})


@METHODS
def test_hits_of_a_retriever_of_weight_zero_come_last_but_come(
    method: Callable[..., list[Fused]],
) -> None:
    lists: dict[str, RankedList] = {"dense": [("z", 2.0), ("y", 1.0)], "bm25": [("a", 1.0)]}

    hits = method(lists, weights={"bm25": 0})

    assert hits[0].id == "z"
    assert {hit.id: hit.score for hit in hits}["a"] == 0


# Any lists at all.


@METHODS
@given(lists=lists_of, seed=st.integers())
def test_order_of_lists_and_of_hits_inside_them_does_not_matter(
    method: Callable[..., list[Fused]], lists: dict[str, RankedList], seed: int
) -> None:
    shuffle = random.Random(seed)
    names = shuffle.sample(list(lists), len(lists))
    shuffled = {name: shuffle.sample(lists[name], len(lists[name])) for name in names}

    assert method(shuffled) == method(lists)


@METHODS
@given(lists=lists_of)
def test_scores_as_another_engine_rounds_them_give_the_same_order(
    method: Callable[..., list[Fused]], lists: dict[str, RankedList]
) -> None:
    noisy = {
        name: [(id_, score + 2e-7 * (-1) ** place) for place, (id_, score) in enumerate(ranked)]
        for name, ranked in lists.items()
    }

    assert order(method(noisy)) == order(method(lists))


@METHODS
@given(lists=lists_of)
def test_lists_are_left_as_they_were(
    method: Callable[..., list[Fused]], lists: dict[str, RankedList]
) -> None:
    before = copy.deepcopy(lists)

    method(lists)

    assert lists == before


@METHODS
@given(lists=lists_of)
def test_every_id_comes_once_with_the_lists_that_found_it(
    method: Callable[..., list[Fused]], lists: dict[str, RankedList]
) -> None:
    hits = method(lists)

    assert len({hit.id for hit in hits}) == len(hits)
    found = {(name, id_) for name, ranked in lists.items() for id_, _ in ranked}
    assert {(name, hit.id) for hit in hits for name in hit.ranks} == found


def exactly(lists: dict[str, RankedList], weights: dict[str, float], relative: bool) -> list[Id]:
    """Both fusions once more, in fractions and by counting instead of sorting."""
    total: dict[Id, Fraction] = {}
    for name, ranked in lists.items():
        best = {id_: max(Fraction(s) for other, s in ranked if other == id_) for id_, _ in ranked}
        weight = Fraction(weights.get(name, 1.0))
        low, high = min(best.values(), default=Fraction(0)), max(best.values(), default=Fraction(0))
        count = Fraction(len(best))
        places = {
            id_: (score - low) / (high - low) if high > low else Fraction(1)
            for id_, score in best.items()
        }
        squares = {id_: (1 / count + (1 - 1 / count) * place) ** 2 for id_, place in places.items()}
        for id_, score in best.items():
            ahead = sum((-s, sort_key(o)) < (-score, sort_key(id_)) for o, s in best.items())
            by_rank, by_score = Fraction(1, 60 + 1 + ahead), squares[id_] / sum(squares.values())
            share = by_score if relative else by_rank
            total[id_] = total.get(id_, Fraction(0)) + weight * share
    return sorted(total, key=lambda id_: (-total[id_], sort_key(id_)))


@given(lists=lists_of, weights=weights_of)
def test_both_fusions_agree_with_exact_arithmetic(
    lists: dict[str, RankedList], weights: dict[str, float]
) -> None:
    weights = {name: weight for name, weight in weights.items() if name in lists}

    assert order(rrf(lists, weights=weights)) == exactly(lists, weights, relative=False)
    assert order(relative_score(lists, weights=weights)) == exactly(lists, weights, relative=True)


@METHODS
@given(lists=lists_of, weights=weights_of, limit=st.integers(0, 20))
def test_limit_gives_the_first_of_all_hits(
    method: Callable[..., list[Fused]],
    lists: dict[str, RankedList],
    weights: dict[str, float],
    limit: int,
) -> None:
    weights = {name: weight for name, weight in weights.items() if name in lists}

    assert method(lists, weights=weights, limit=limit) == method(lists, weights=weights)[:limit]


def plainly(lists: dict[str, RankedList], weights: dict[str, float], method: str) -> list[Fused]:
    """Both fusions once more, one hit after the other."""
    parts: dict[Id, list[float]] = {}
    ranks: dict[Id, dict[str, RankScore]] = {}
    for name, ranked in lists.items():
        best: dict[Id, float] = {}
        for id_, score in ranked:
            best[id_] = max(score, best.get(id_, score))
        levels: dict[Id, float] = {}
        before = level = math.inf
        for id_ in sorted(best, key=lambda id_: -best[id_]):
            if before - best[id_] >= 5e-7 * max(1, abs(best[id_])):
                level = best[id_]
            before = best[id_]
            levels[id_] = level
        ids = sorted(best, key=lambda id_: (-levels[id_], sort_key(id_)))
        last = levels[ids[-1]] if ids else 0
        step = (levels[ids[0]] - last) / (len(ids) - 1) if len(ids) > 1 else 0
        shares = [(levels[id_] - last + step) ** 2 if step else 1 for id_ in ids]
        for rank, id_ in enumerate(ids, 1):
            share = 1 / (60 + rank) if method == "rrf" else shares[rank - 1] / sum(shares)
            parts.setdefault(id_, []).append(weights.get(name, 1.0) * share)
            ranks.setdefault(id_, {})[name] = RankScore(rank, best[id_])
    totals = {id_: sum(each) for id_, each in parts.items()}
    ids = sorted(totals, key=lambda id_: (-round(totals[id_], 12), sort_key(id_)))
    return [Fused(id_, totals[id_], ranks[id_]) for id_ in ids]


@pytest.mark.parametrize("kind", ["near", "far", "few"])
@pytest.mark.parametrize("method", get_args(FusionMethod))
def test_long_lists_are_fused_as_plainly_written(method: FusionMethod, kind: str) -> None:
    draw = random.Random(f"{method} {kind}")
    scores: dict[str, Callable[[], float]] = {
        "near": lambda: 0.5 + draw.randrange(900) * 1e-7,
        "far": lambda: draw.uniform(-1, 30),
        "few": lambda: draw.randrange(9) / 8,
    }
    own: list[Callable[[], Id]] = [
        lambda: draw.randrange(300),
        lambda: f"document {draw.randrange(300)}",
        lambda: draw.choice([str, int])(draw.randrange(300)),
        lambda: str(UUID(int=draw.randrange(300) * 2**110)),
    ]
    for _ in range(150):
        make = draw.choice(own)
        lists: dict[str, RankedList] = {
            name: [(make(), scores[kind]()) for _ in range(draw.choice([0, 1, 20, 200]))]
            for name in draw.sample(["dense", "bm25", "third"], draw.randrange(1, 4))
        }
        weights = {name: draw.choice([0.0, 0.5, 2.0]) for name in lists if draw.random() < 0.3}
        limit = draw.choice([None, 1, 10, 50])

        hits = fuse(lists, method, weights=weights, limit=limit)

        expected = plainly(lists, weights, method)[:limit]
        assert [(hit.id, hit.ranks) for hit in hits] == [(hit.id, hit.ranks) for hit in expected]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected])


# By name.


def test_fuse_passes_everything_on_to_the_method_it_is_asked_for() -> None:
    lists: dict[str, RankedList] = {
        "dense": [("a", 0.9), ("b", 0.8), ("c", 0.1)],
        "bm25": [("c", 9.0), ("b", 1.0)],
    }
    weights = {"bm25": 0.5}

    assert fuse(lists) == relative_score(lists)
    assert fuse(lists, "rrf") == rrf(lists)
    assert fuse(lists, "rrf", k=3, weights=weights) == rrf(lists, k=3, weights=weights)
    assert fuse(lists, "relative_score", weights=weights) == relative_score(lists, weights=weights)
    assert fuse(lists, limit=2) == relative_score(lists)[:2]
    assert fuse(lists, "rrf", limit=2) == rrf(lists)[:2]
    assert rrf(lists) != relative_score(lists)


def test_fuse_refuses_a_rank_constant_that_it_would_ignore() -> None:
    for method in ((), ("relative_score",)):
        with pytest.raises(InputError, match=r"got 10 for 'relative_score'.*Choose 'rrf'"):
            fuse({"dense": [("a", 1.0)]}, *method, k=10)
    assert fuse({"dense": [("a", 1.0)]}, k=60)[0].score == 1


def test_fuse_names_the_methods_it_knows() -> None:
    with pytest.raises(InputError, match=r"'rrf', 'relative_score'.*'dbsf'"):
        fuse({}, "dbsf")  # type: ignore[arg-type]


# What is refused.


@METHODS
@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_score_that_is_no_number_is_refused_with_its_place(
    method: Callable[..., list[Fused]], score: float
) -> None:
    with pytest.raises(InputError, match=rf"{score}.*'b'.*'bm25'"):
        method({"dense": [("a", 1.0)], "bm25": [("a", 1.0), ("b", score)]})


@METHODS
@pytest.mark.parametrize("id_", [None, 1.5, b"a", ("a",)])
def test_id_of_another_type_is_refused_with_its_retriever(
    method: Callable[..., list[Fused]], id_: object
) -> None:
    with pytest.raises(InputTypeError, match=rf"{type(id_).__name__}.*'dense'"):
        method({"dense": [(id_, 1.0)]})


@METHODS
@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weight_that_cannot_weigh_is_refused(
    method: Callable[..., list[Fused]], weight: float
) -> None:
    with pytest.raises(InputError, match=rf"'dense'.*{weight}"):
        method({"dense": [("a", 1.0)]}, weights={"dense": weight})


@METHODS
def test_weights_whose_sum_is_no_number_are_refused(method: Callable[..., list[Fused]]) -> None:
    lists: dict[str, RankedList] = {"dense": [("a", 1.0)], "bm25": [("a", 1.0)]}
    with pytest.raises(InputError, match=r"add up to infinity.*1e\+308"):
        method(lists, weights={"dense": 1e308, "bm25": 1e308})


@METHODS
def test_weight_of_a_retriever_that_is_not_there_is_refused(
    method: Callable[..., list[Fused]],
) -> None:
    with pytest.raises(InputError, match=r"'dens'.*'dense'"):
        method({"dense": [("a", 1.0)]}, weights={"dens": 1.0})


@pytest.mark.parametrize("k", [-1, float("nan"), float("inf")])
def test_k_out_of_range_is_refused(k: float) -> None:
    with pytest.raises(InputError, match=f"`k`.*{k}"):
        rrf({"dense": [("a", 1.0)]}, k=k)


def test_k_of_zero_is_plain_reciprocal_rank() -> None:
    assert [hit.score for hit in rrf({"dense": [("a", 2.0), ("b", 1.0)]}, k=0)] == [1.0, 0.5]
