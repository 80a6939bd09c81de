"""Takes pictures of the search page of a running server."""

from __future__ import annotations

from base64 import b64decode
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import HybridSearcher, QdrantEdgeStore
from qwen3_rag_server import RunningServer, Served
from qwen3_rag_testkit.chromium import running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["VIEWS", "View", "photograph"]


@dataclass(frozen=True)
class View:
    """A window on the page.

    Attributes:
        name: The picture's name.
        size: Width and height of the window.
        theme: The theme.
        pointed_at: The place in the last list of the hit under the pointer, from 0.
    """

    name: str
    size: tuple[int, int]
    theme: Literal["dark", "light"] = "light"
    pointed_at: int | None = None


VIEWS = (
    View("page-wide", (1280, 800), pointed_at=1),
    View("page-dark", (1280, 800), "dark", pointed_at=2),
    View("page-narrow", (390, 760)),
)


def photograph(index: Path, question: str, program: str, folder: Path) -> None:
    """Serve an index of the tiny models, and take a picture of each view.

    Args:
        index: The folder of the index.
        question: What is asked.
        program: Chromium.
        folder: Where the pictures are written.
    """
    with ExitStack() as closing:
        embedder = closing.enter_context(Qwen3Embedder("tiny"))
        reranker = closing.enter_context(Qwen3Reranker("tiny"))
        store = QdrantEdgeStore(index, read_only=True)
        searcher = closing.enter_context(HybridSearcher(store, embedder, reranker, rerank_depth=20))
        searcher.search(question)  # so that no picture shows the time of loading
        served = Served(embedder, reranker, {"milvus_faq": searcher})
        server = closing.enter_context(RunningServer(served, port=0))
        browser = closing.enter_context(running_chromium(program))
        for view in VIEWS:
            _take(browser, f"{server.url}/#{urlencode({'q': question})}", view, folder)


def _take(browser: Browser, address: str, view: View, folder: Path) -> None:
    width, height = view.size
    with browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=view.theme
    ) as context:
        page = context.new_page()
        page.goto(address)
        page.locator(".hit >> visible=true").first.wait_for()
        page.locator("#query").blur()
        if view.pointed_at is not None:
            page.locator(".list").last.locator(".hit").nth(view.pointed_at).hover()
        # As WebP, which Playwright does not offer: a fifth of the bytes.
        session = context.new_cdp_session(page)
        taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": 85})
        (folder / f"{view.name}.webp").write_bytes(b64decode(taken["data"]))
