"""The page without a mouse: the order of its controls, keys on hits and sliders, history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed")
from playwright.sync_api import expect

from packages.server.tests.page.driving import QUERY, ask, hit_of, hits_of, ids, searching

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from packages.server.tests.page.conftest import Windows

pytestmark = pytest.mark.browser


def _focused(page: Page) -> str:
    return str(
        page.evaluate(
            """() => {
                const one = document.activeElement;
                const list = one.closest(".list")?.dataset.list;
                return list ?? (one.id || one.textContent.trim());
            }"""
        )
    )


def test_tab_goes_through_all_controls_and_once_into_each_list(page: Page) -> None:
    ask(page)

    order = []
    for _ in range(15):
        page.keyboard.press("Tab")
        order.append(_focused(page))
        width = page.evaluate(
            "parseFloat(getComputedStyle(document.activeElement).outlineWidth) || 0"
        )
        assert width >= 2, f"the focus is not seen on {order[-1]}"
    assert order == [
        *("Search", "index", "dense", "bm25", "depth", "limit", "Reset", "filter", "instruction"),
        *("dense", "bm25", "fused", "rerank"),
        *order[-2:],
    ]


def test_the_controls_can_be_skipped(page: Page) -> None:
    ask(page)
    page.locator(".skip").focus()
    expect(page.get_by_role("link", name="Skip to the results")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    assert _focused(page) == "dense"
    assert page.url.endswith("#q=What+is+the+capital+of+France%3F&index=handbook")


def test_arrows_move_among_hits_and_follow_one_through_the_lists(page: Page) -> None:
    ask(page)
    focused = page.locator(".hit:focus")
    first = hits_of(page, "Dense").first
    first.focus()

    page.keyboard.press("ArrowDown")
    expect(hits_of(page, "Dense").nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(hits_of(page, "Dense").last).to_be_focused()
    page.keyboard.press("Home")
    expect(first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(first).to_be_focused()

    hit_of(page, "Dense", "Paris is the capital").focus()
    for name in ("BM25", "Fused", "Reranked"):
        page.keyboard.press("ArrowRight")
        expect(hit_of(page, name, "Paris is the capital")).to_be_focused()
        assert page.locator(".hit.on").count() == 4
    page.keyboard.press("ArrowLeft")
    expect(hit_of(page, "Fused", "Paris is the capital")).to_be_focused()
    assert focused.count() == 1


def test_enter_opens_a_hit_and_escape_leads_back_to_it(page: Page) -> None:
    ask(page)
    hits_of(page, "Fused").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("region", name="Text")).to_be_focused()

    text = hits_of(page, "Fused").nth(1).locator(".snippet").inner_text()
    dialog.get_by_role("button", name="Next").press("Enter")
    assert text[:20] in dialog.get_by_role("region", name="Text").inner_text()
    expect(dialog.get_by_role("button", name="Previous")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(hits_of(page, "Fused").nth(1)).to_be_focused()


def test_a_slash_leads_to_the_question_from_anywhere_but_a_text(page: Page) -> None:
    ask(page)
    hits_of(page, "Fused").first.focus()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("a/b")
    expect(page.get_by_role("searchbox")).to_have_value("a/b")


def test_arrows_on_a_slider_search_again(page: Page) -> None:
    ask(page)
    before = ids(page, "Reranked")
    page.get_by_label("Rerank depth").focus()
    with searching(page):
        for _ in range(10):
            page.keyboard.press("ArrowLeft")

    assert page.locator(".value[data-of=depth]").inner_text() == "2"
    assert len(ids(page, "Reranked")) == 2 < len(before)
    expect(page.get_by_label("Rerank depth")).to_be_focused()


def test_an_address_brings_back_the_question_and_its_controls(windows: Windows) -> None:
    page = windows.open()
    ask(page)
    with searching(page):
        page.get_by_label("BM25 weight").fill("0.4")
        page.get_by_label("Filter").fill("kind=markdown")
        page.get_by_label("Hits").fill("4")
    address = page.url.partition("/#")[2]
    shown = ids(page, "Fused")

    other = windows.open(f"#{address}")
    hits_of(other, "Fused").nth(3).wait_for()
    assert ids(other, "Fused") == shown
    assert other.get_by_label("BM25 weight").input_value() == "0.4"
    assert other.get_by_role("searchbox").input_value() == QUERY


def test_back_and_forward_go_through_the_questions(page: Page) -> None:
    ask(page)
    first = ids(page, "Reranked")
    ask(page, "yellow fruit")
    assert ids(page, "Reranked") != first

    with searching(page):
        page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value(QUERY)
    assert ids(page, "Reranked") == first
    page.go_back()
    expect(page.get_by_text("See what each step")).to_be_visible()
    assert hits_of(page, "Reranked").count() == 0
    with searching(page):
        page.go_forward()
    assert ids(page, "Reranked") == first
