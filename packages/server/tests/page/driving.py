"""What a person does on the page and sees there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

__all__ = ["QUERY", "ask", "hit_of", "hits_of", "ids", "marked", "searching"]

QUERY = "What is the capital of France?"


@contextmanager
def searching(page: Page) -> Iterator[None]:
    """Wait until the page shows the answer to what is done inside."""
    with page.expect_response("**/v1/search"):
        yield
    page.locator("#results:not([aria-busy])").wait_for(state="attached")


def ask(page: Page, query: str = QUERY) -> None:
    """Type a question, and wait for its answer."""
    page.get_by_role("searchbox", name="Question").fill(query)
    with searching(page):
        page.keyboard.press("Enter")


def hits_of(page: Page, name: str) -> Locator:
    """Return the hits of a list."""
    return page.get_by_role("list", name=re.compile(f"^{name}")).get_by_role("button")


def ids(page: Page, name: str) -> list[str]:
    """Return the ids of a list's hits."""
    found = hits_of(page, name).evaluate_all("all => all.map(one => JSON.parse(one.dataset.id))")
    return [str(id_) for id_ in found]


def hit_of(page: Page, name: str, text: str) -> Locator:
    """Return the first hit of a list that has a text."""
    return hits_of(page, name).filter(has_text=text).first


def marked(hit: Locator) -> set[str]:
    """Return the marked words of a hit."""
    return set(hit.locator("mark").all_inner_texts())
