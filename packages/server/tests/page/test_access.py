"""Every state of the page for eyes of all kinds: axe, screen readers, narrow windows, themes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from packages.server.tests.page.driving import QUERY, ask, hit_of, hits_of, searching

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from packages.server.tests.page.conftest import Windows

pytestmark = pytest.mark.browser

NARROW: dict[str, Any] = {"viewport": {"width": 320, "height": 640}, "has_touch": True}
DARK: dict[str, Any] = {"color_scheme": "dark"}


def barriers(page: Page) -> list[str]:
    """Return what axe finds in the light theme, and of contrasts in the dark one."""
    found = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    colours = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    found += Axe().run(page, options=colours).response["violations"]
    page.emulate_media(color_scheme="light")
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def width(page: Page) -> int:
    """Return how wide what can be scrolled to is."""
    return int(page.evaluate("document.documentElement.scrollWidth"))


def with_results(page: Page) -> None:
    ask(page)


def with_hostile_results(page: Page) -> None:
    ask(page, "hostile zebras stripe עיר")


def with_an_error(page: Page) -> None:
    ask(page)
    page.get_by_label("Filter").evaluate("one => { one.value = 'kind' }")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("alert").wait_for()


def with_a_hit_to_read(page: Page) -> None:
    with_hostile_results(page)
    page.locator(".list.shown .hit").first.click()
    page.get_by_text("Payload").click()


def with_nothing(page: Page) -> None:
    page.get_by_text("See what each step").wait_for()


def with_open_options(page: Page) -> None:
    ask(page)
    if page.get_by_text("Options").is_visible():
        page.get_by_text("Options").click()


@pytest.mark.parametrize("window", [{}, NARROW], ids=["wide", "narrow"])
def test_no_state_has_a_barrier_or_has_to_be_scrolled_sideways(
    windows: Windows, window: dict[str, Any]
) -> None:
    page = windows.open(**window)
    states = (with_nothing, with_results, with_open_options, with_hostile_results, with_an_error)
    for state in states:
        state(page)
        assert not barriers(page), state.__name__
        assert width(page) == page.evaluate("innerWidth"), state.__name__
    page.get_by_label("Filter").evaluate("one => { one.value = '' }")
    with_a_hit_to_read(page)
    assert not barriers(page)
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog is not None
    assert dialog["x"] >= 0
    assert dialog["x"] + dialog["width"] <= page.evaluate("innerWidth")


@pytest.mark.parametrize("wide", [700, 900, 1030, 1440, 2200])
def test_lists_stay_inside_windows_of_any_width(page: Page, wide: int) -> None:
    before = page.viewport_size
    page.set_viewport_size({"width": wide, "height": 800})
    with_hostile_results(page)

    boxes = page.locator(".hit").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).filter(one => one.width)"
        ".map(one => [one.left, one.right])"
    )
    columns = sorted({(round(left), round(right)) for left, right in boxes})
    assert width(page) == wide
    assert len(columns) == (4 if wide > 1024 else 1)
    assert columns[0][0] >= 0
    assert columns[-1][1] <= wide
    assert all(left[1] < right[0] for left, right in pairwise(columns))
    assert before is not None
    page.set_viewport_size(before)


def test_a_narrow_window_shows_one_list_at_a_time(windows: Windows) -> None:
    page = windows.open(**NARROW)
    ask(page)

    expect(page.get_by_role("list", name=re.compile("^Reranked"))).to_be_visible()
    expect(page.get_by_label("BM25 weight")).to_be_hidden()
    tabs = page.get_by_role("group", name="List to show")
    tabs.get_by_role("button", name="BM25").click()
    expect(tabs.get_by_role("button", pressed=True)).to_have_text("BM25")
    expect(page.get_by_role("list", name=re.compile("^BM25"))).to_be_visible()
    expect(page.get_by_role("list", name=re.compile("^Reranked"))).to_be_hidden()
    with searching(page):
        page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("list", name=re.compile("^BM25"))).to_be_visible()


def test_screen_readers_are_told_what_was_found_and_find_it_in_named_lists(page: Page) -> None:
    status = page.get_by_role("status")
    expect(status).to_be_empty()
    ask(page)
    expect(status).to_have_text(re.compile(r"^10 hits\. The first is .+, (line|page) \d+\.$"))

    for name in ("Dense", "BM25", "Fused", "Reranked"):
        items = page.get_by_role("list", name=re.compile(f"^{name}")).get_by_role("listitem")
        ranks = [(one.text_content() or "").split()[0] for one in items.all()]
        assert ranks == [str(n + 1) for n in range(len(ranks))]
    moved = hit_of(page, "Reranked", "Paris is the capital").aria_snapshot()
    assert re.search(r"Fused \d+ (up \d+|down \d+|unchanged)", moved)
    assert not re.search("[▲▼=]", moved)
    assert "lines" not in page.locator("main").aria_snapshot().replace("lines 1–2", "")


def test_the_value_of_a_slider_is_told(page: Page) -> None:
    ask(page)
    depth = page.get_by_role("slider", name="Rerank depth")
    expect(depth).to_have_attribute("aria-valuetext", "12")
    with searching(page):
        depth.fill("0")
    expect(depth).to_have_attribute("aria-valuetext", "off")
    expect(page.get_by_role("slider")).to_have_count(3)


def test_the_theme_is_the_systems_until_another_is_chosen(windows: Windows) -> None:
    page = windows.open(**DARK)
    back = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(back)
    button = page.get_by_role("button", name="Dark theme")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.emulate_media(color_scheme="light")
    expect(button).to_have_attribute("aria-pressed", "false")
    light = page.evaluate(back)
    assert light != dark

    button.click()
    assert page.evaluate(back) == dark
    page.reload()
    assert page.evaluate(back) == dark
    expect(button).to_have_attribute("aria-pressed", "true")


def test_nothing_moves_for_those_who_do_not_want_it(page: Page) -> None:
    ask(page)
    durations = """() => [...document.querySelectorAll("*")].filter(one => {
        const style = getComputedStyle(one);
        return [style.transitionDuration, style.animationDuration].some(all => /[1-9]/.test(all));
    }).length"""
    assert page.evaluate(durations) == 1
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(durations) == 0
    page.emulate_media(reduced_motion="no-preference")


def test_a_question_of_a_thousand_words_is_shown_and_answered(page: Page) -> None:
    ask(page, f"{QUERY} " + "unbroken" * 500)

    assert hits_of(page, "Dense").count() == 10
    assert width(page) == page.evaluate("innerWidth")
