"""What the page says when there is nothing to show, and which of two answers it shows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed")
from playwright.sync_api import Error, expect

from packages.server.tests.page.driving import QUERY, ask, hits_of, ids, searching
from qwen3_rag_server import RunningServer, Served, Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from packages.server.tests.page.conftest import Windows
    from qwen3_rag_hybrid import HybridSearcher

pytestmark = pytest.mark.browser


def _submit(page: Page, query: str = QUERY) -> None:
    page.get_by_role("searchbox").fill(query)
    page.keyboard.press("Enter")


def test_a_key_is_asked_for_and_kept_in_the_tab(windows: Windows, served: Served) -> None:
    with RunningServer(served, Settings(api_keys=["secret"]), port=0) as server:
        page = windows.open("#q=capital+of+France", at=server.url)
        expect(page.get_by_role("alert")).to_contain_text("This server answers only with a key.")
        key = page.get_by_label("Key of this server")
        expect(key).to_be_focused()
        key.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The server does not know this key.")
        key.fill("secret")
        page.keyboard.press("Enter")
        expect(hits_of(page, "Reranked").first).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(key).to_be_hidden()
        assert "secret" not in page.url
        page.reload()
        expect(hits_of(page, "Reranked").first).to_be_visible()


def test_a_question_survives_the_asking_for_a_key(windows: Windows, served: Served) -> None:
    settings = Settings(api_keys=["secret"], open_hooks=True)  # opens /meta
    with RunningServer(served, settings, port=0) as server:
        page = windows.open(at=server.url)
        _submit(page)
        key = page.get_by_label("Key of this server")
        expect(key).to_be_focused()
        key.fill("secret")
        page.keyboard.press("Enter")
        expect(hits_of(page, "Reranked").first).to_be_visible()
        expect(page.get_by_role("searchbox")).to_have_value(QUERY)


def test_a_server_that_has_gone_is_told_and_can_be_tried_again(
    windows: Windows, served: Served
) -> None:
    with RunningServer(served, port=0) as server:
        page = windows.open(at=server.url)
        ask(page)
        port = server.port
    _submit(page, "yellow fruit")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server does not answer. Is it still running?")
    assert hits_of(page, "Reranked").count() == 0

    with RunningServer(served, port=port), searching(page):
        alert.get_by_role("button", name="Try again").click()
    expect(alert).to_be_hidden()
    assert ids(page, "BM25")[0] == "fruit.txt:1"


def test_a_busy_server_is_told_with_when_to_come_back(windows: Windows, served: Served) -> None:
    server = RunningServer(served, Settings(max_queue=1), port=0)
    with server, ThreadPoolExecutor() as threads:
        page = windows.open(at=server.url)
        page.get_by_role("searchbox").fill(QUERY)
        busy = threads.submit(_keep_busy, server.url)
        while "queue_length 300.0" not in httpx.get(f"{server.url}/metrics").text:
            assert not busy.done()
        page.keyboard.press("Enter")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The server is busy for about")
        busy.result()
        with searching(page):
            alert.get_by_role("button", name="Try again").click()
    assert len(ids(page, "Reranked")) > 5


def _keep_busy(url: str) -> None:
    """Send more than is computed in the time that this client waits."""
    body = {"model": "tiny", "input": [f"{n} and a long text " * 400 for n in range(300)]}
    with suppress(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/embeddings", json=body, timeout=3)


@pytest.mark.parametrize(
    ("filter_", "told"),
    [
        ("kind", "“kind” in the filter is not NAME=VALUE"),
        ('kind=pdf path="half', '“path="half” in the filter is not NAME=VALUE'),
        ("nowhere=1", "nowhere"),
    ],
)
def test_a_wrong_filter_is_told(page: Page, filter_: str, told: str) -> None:
    ask(page)
    page.get_by_label("Filter").fill(filter_)
    page.get_by_label("Filter").press("Enter")

    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    assert hits_of(page, "Dense").count() == 0
    with searching(page):
        page.get_by_label("Filter").fill("kind=pdf")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert len(ids(page, "Dense")) == 2


def test_no_hit_is_told(page: Page) -> None:
    ask(page)
    with searching(page):
        page.get_by_label("Filter").fill("kind=novel")
    expect(page.get_by_role("status")).to_have_text("No hit with this filter.")

    with searching(page):
        page.get_by_label("Index").select_option("empty")
    expect(page.get_by_role("status")).to_contain_text("The index may be empty.")
    assert page.get_by_label("Filter").input_value() == ""


def test_a_server_without_an_index_says_how_to_add_one(windows: Windows, served: Served) -> None:
    with RunningServer(Served(served.embedder), port=0) as server:
        page = windows.open(at=server.url)
        expect(page.get_by_role("alert")).to_contain_text("Start it with --index PATH")
        expect(page.get_by_label("Index")).to_be_hidden()


def test_an_index_without_a_reranker_has_three_lists(
    windows: Windows, served: Served, searchers: dict[str, HybridSearcher]
) -> None:
    plain = searchers["handbook"].tuned(reranker=None, candidates=5)
    with RunningServer(Served(served.embedder, None, {"plain": plain}), port=0) as server:
        page = windows.open(at=server.url)
        ask(page)
        titles = page.locator(".list h2").evaluate_all("all => all.map(one => one.id)")
        assert titles == ["title-dense", "title-bm25", "title-fused"]
        assert len(ids(page, "Dense")) == 5
        expect(page.get_by_label("Rerank depth")).to_be_hidden()
        expect(page.get_by_label("Index")).to_be_hidden()


def test_another_index_is_searched_when_it_is_chosen(page: Page) -> None:
    ask(page)
    with searching(page):
        page.get_by_label("Index").select_option("notes")

    assert set(ids(page, "Dense")) == {"monday.txt:1", "tuesday.txt:1"}
    assert "index=notes" in page.url


def test_a_slow_answer_does_not_replace_a_newer_one(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        if json.loads(route.request.post_data or "{}")["query"] == "yellow fruit":
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/search", hold)
    with page.expect_request("**/v1/search"):
        _submit(page, "yellow fruit")
    expect(page.locator("#results[aria-busy]")).to_be_attached()
    ask(page)
    shown = ids(page, "Reranked")
    with suppress(Error):  # the page has dropped it
        held[0].fulfill(response=held[0].fetch())
    page.unroute("**/v1/search")
    page.evaluate("new Promise(done => setTimeout(done, 300))")  # for a page that has not

    assert ids(page, "Reranked") == shown
    expect(page.get_by_role("status")).to_contain_text("capitals.md")
    assert "France" in page.url
    assert "France" in page.title()


def test_a_question_asked_before_the_page_is_ready_is_answered(page: Page) -> None:
    held: list[Route] = []
    page.route("**/meta", lambda route: held.append(route))
    page.reload()
    _submit(page)
    assert hits_of(page, "Reranked").count() == 0
    with searching(page):
        held[0].continue_()
    page.unroute("**/meta")

    assert len(ids(page, "Reranked")) == 10
    assert page.url.endswith("&index=handbook")
    page.evaluate("history.back()")
    expect(page.get_by_text("See what each step")).to_be_visible()
