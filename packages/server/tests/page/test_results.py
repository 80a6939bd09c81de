"""What a search shows: four lists, the lines between them, words, places and times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed")
from playwright.sync_api import expect

from packages.server.tests.page.corpus import HOSTILE
from packages.server.tests.page.driving import QUERY, ask, hit_of, ids, marked, searching

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def found(url: str, **body: Any) -> list[dict[str, Any]]:
    """Return what the server answers to the same question."""
    answer = httpx.post(f"{url}/v1/search", json={"index": "handbook", **body}, timeout=60)
    return list(answer.raise_for_status().json()["hits"])


def test_each_list_has_the_order_of_its_step(page: Page, url: str) -> None:
    ask(page, QUERY)

    hits = found(url, query=QUERY, limit=50)
    for name, title in (("dense", "Dense"), ("bm25", "BM25"), ("fused", "Fused")):
        ranked = [hit for hit in hits if name in hit["ranks"]]
        ranked.sort(key=lambda hit: hit["ranks"][name]["rank"])
        assert ids(page, title) == [hit["id"] for hit in ranked[:10]]
    assert ids(page, "Reranked") == [hit["id"] for hit in hits[:10]]


def test_a_list_is_whole_when_its_weight_is_zero(page: Page, url: str) -> None:
    query = "sixteen federal states"
    ask(page, query)
    before = ids(page, "Dense")
    with searching(page):
        page.get_by_label("Dense weight").fill("0")
        page.get_by_label("Rerank depth").fill("1")
        page.get_by_label("Hits").fill("3")

    answered = found(url, query=query, weights={"dense": 0}, rerank_depth=1, limit=6)
    assert not {*before[:3]} <= {hit["id"] for hit in answered}  # one answer has not all
    assert ids(page, "Dense") == before[:3]
    assert ids(page, "Fused") == [hit["id"] for hit in answered[:3]]


def test_lines_join_each_hit_with_itself_in_the_next_list(page: Page) -> None:
    ask(page, QUERY)

    lists = [ids(page, name) for name in ("Dense", "BM25", "Fused", "Reranked")]
    expected = sum(
        any(one in later for later in lists[at + 1 :])
        for at, ids_ in enumerate(lists)
        for one in ids_
    )
    assert page.locator("#lines path").count() == expected > 10
    dense, bm25, fused, _ = map(set, lists)
    assert page.locator("#lines path.far").count() == len((dense & fused) - bm25) > 0
    hit_of(page, "Reranked", "Paris is the capital").hover()
    lit = page.locator(".hit.on")
    assert set(lit.evaluate_all("all => all.map(one => one.dataset.id)")) == {
        '"guide/capitals.md:1"'
    }
    assert lit.count() == 4
    assert page.locator("#lines path.on").count() == 3


def test_a_hit_has_its_file_place_heading_and_marked_words(page: Page) -> None:
    ask(page, QUERY)

    first = hit_of(page, "Fused", "Paris is the capital of France")
    text = first.inner_text()
    assert "guide/capitals.md" in text.replace("\n", "")
    assert "line 1 · Capitals" in text
    assert marked(first) == {"capital", "France"}  # and no word that says nothing
    assert "lines 1–2" in hit_of(page, "Fused", "Western Europe").inner_text()
    assert "page 4" in hit_of(page, "BM25", "a government sits").inner_text()


def test_the_way_of_a_hit_is_told_in_words_too(page: Page, url: str) -> None:
    ask(page, QUERY)

    for hit in found(url, query=QUERY, limit=50)[:3]:
        ranks = {name: one["rank"] for name, one in hit["ranks"].items()}
        up = ranks["fused"] - ranks["rerank"]
        told = f"up {up}" if up > 0 else f"down {-up}" if up else "unchanged"
        card = hit_of(page, "Reranked", hit["text"][:20]).text_content() or ""
        assert card.startswith(f"{ranks['rerank']} ")
        assert f"Fused {ranks['fused']}" in card
        assert card.endswith(told)


def test_the_time_of_each_step_is_told(page: Page) -> None:
    ask(page, QUERY)

    steps = page.get_by_role("list", name="Time of each step").get_by_role("listitem")
    texts = steps.all_inner_texts()
    assert [re.sub(r"\s*[\d.]+ ms$", "", one) for one in texts] == [
        *("embed", "retrieve and fuse", "rerank", "send and show"),
    ]
    assert all(re.search(r"\d ms$", one) for one in texts)


def test_a_filter_keeps_the_hits_of_some_files(page: Page) -> None:
    ask(page, QUERY)
    with searching(page):
        page.get_by_label("Filter").fill('path="facts.pdf" kind=pdf')
        page.get_by_label("Filter").press("Enter")

    for name in ("Dense", "Fused", "Reranked"):
        assert set(ids(page, name)) == {"facts.pdf:0", "facts.pdf:1"}


def test_sliders_change_the_order(page: Page, url: str) -> None:
    ask(page, QUERY)
    with searching(page):
        page.get_by_label("Dense weight").fill("0")
    with searching(page):
        page.get_by_label("Rerank depth").fill("3")

    weights = {"dense": 0, "bm25": 1}
    hits = found(url, query=QUERY, weights=weights, rerank_depth=3)
    assert ids(page, "Reranked") == [hit["id"] for hit in hits[:3]]
    by_rank = sorted(hits, key=lambda hit: hit["ranks"]["fused"]["rank"])
    assert ids(page, "Fused") == [hit["id"] for hit in by_rank]
    assert page.locator(".value[data-of=depth]").inner_text() == "3"

    with searching(page):
        page.get_by_label("Rerank depth").fill("0")
    assert page.locator("[data-list=rerank]").count() == 0
    assert page.locator(".value[data-of=depth]").inner_text() == "off"


def test_controls_begin_with_what_the_server_does(page: Page) -> None:
    expect(page.get_by_label("Rerank depth")).to_have_value("12")

    page.get_by_label("Rerank depth").fill("4")
    page.get_by_label("Dense weight").fill("0.3")
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_label("Rerank depth").input_value() == "12"
    assert page.get_by_label("Dense weight").input_value() == "1"


@pytest.mark.parametrize(
    ("query", "text", "words"),
    [
        ("프랑스 수도", "파리이다", {"프랑스", "수도"}),
        ("法国首都", "塞纳河", {"法国", "首都"}),
        ("フランスの首都は", "パリです", {"フランスの首都は"}),
        ("ما هي عاصمة فرنسا؟", "باريس", {"عاصمة", "فرنسا"}),
        ("מהי בירת צרפת", "פריז", {"צרפת"}),
        ("apple cellars", "cool and dark", {"Apples", "cellar"}),
        ("maximum length", "max_length", {"length"}),
    ],
    ids=["ko", "zh", "ja", "ar", "he", "plural", "identifier"],
)
def test_words_are_marked_in_any_script(page: Page, query: str, text: str, words: set[str]) -> None:
    ask(page, query)

    assert marked(hit_of(page, "BM25", text)) == words


def test_right_to_left_text_is_set_that_way(page: Page) -> None:
    ask(page, "عاصمة فرنسا")

    direction = "one => getComputedStyle(one).direction"
    assert page.get_by_role("searchbox").evaluate(direction) == "rtl"
    assert hit_of(page, "BM25", "باريس").locator(".snippet").evaluate(direction) == "rtl"
    assert hit_of(page, "Dense", "Paris").locator(".snippet").evaluate(direction) == "ltr"


def test_markup_in_documents_is_shown_and_not_run(page: Page) -> None:
    ask(page, "hostile markup")
    hit = hit_of(page, "BM25", "Hostile markup")
    assert HOSTILE in hit.inner_text().replace("\n", " ")
    hit.click()
    dialog = page.get_by_role("dialog")

    assert dialog.get_by_role("heading", name=f"{HOSTILE}.html").is_visible()
    assert HOSTILE in dialog.get_by_role("region", name="Text").inner_text()
    assert page.locator("main img, main b.bold, dialog img, script:not([src])").count() == 0
    assert page.evaluate("window.hacked") is None


def test_an_extract_begins_where_the_words_are(page: Page) -> None:
    ask(page, "lighthouse keeper")

    hit = hit_of(page, "BM25", "novel.txt")
    assert marked(hit) == {"lighthouse", "keeper"}
    assert hit.locator("mark").first.is_visible()
    mark, card = hit.locator("mark").last.bounding_box(), hit.bounding_box()
    assert mark is not None
    assert card is not None
    assert mark["y"] + mark["height"] <= card["y"] + card["height"]


def test_a_hit_is_read_as_a_whole(page: Page) -> None:
    ask(page, "lighthouse keeper")
    hit_of(page, "BM25", "novel.txt").click()

    dialog = page.get_by_role("dialog", name="novel.txt")
    text = dialog.get_by_role("region", name="Text")
    assert text.inner_text().startswith("A chapter on nothing.")
    assert text.inner_text().endswith("The lighthouse keeper slept.")
    row = dialog.get_by_role("row").filter(has_text="BM25")
    assert row.get_by_role("cell").first.inner_text() == "1"
    dialog.get_by_text("Payload").click()
    assert '"kind": "text"' in dialog.locator("pre").inner_text()


def test_one_file_alone_is_searched_from_a_hit(page: Page) -> None:
    ask(page, QUERY)
    hit_of(page, "Fused", "Paris is the capital").click()
    with searching(page):
        page.get_by_role("button", name="Only this file").click()

    assert {one.partition(":")[0] for one in ids(page, "Dense")} == {"guide/capitals.md"}
    assert page.get_by_label("Filter").input_value() == 'path="guide/capitals.md"'


def test_a_file_with_quotes_in_its_name_is_searched_alone(page: Page) -> None:
    ask(page, "hostile markup")
    hit_of(page, "BM25", "Hostile markup").click()
    with searching(page):
        page.get_by_role("button", name="Only this file").click()

    assert {one.rpartition(":")[0] for one in ids(page, "Dense")} == {f"{HOSTILE}.html"}
